#!/usr/bin/env python3
"""Proves `mlagent serve` against the real `openai` client and curl.

    python tools/check_serve.py [--program build/mlagent] [--model MODEL] [--compute TYPE]

Needs the Python package `openai` and the program curl. Starts the service on a free port of this
machine, checks it, stops it with Ctrl-C while a stream runs. Each check is one line; the exit
status is 1 when one fails.
"""
import argparse
import base64
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time

import openai

KEY = "a-key-for-the-check"
MESSAGES = [{"role": "system", "content": "You answer in one short sentence."},
            {"role": "user", "content": "What is a decision tree?"}]


class Service:
    def __init__(self, program, model, *options, key=KEY):
        env = dict(os.environ, MLAGENT_API_KEY=key)
        self.process = subprocess.Popen([program, "serve", model, "--port", "0", *options], env=env,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.match(r"serving (\S+) at (http://127\.0\.0\.1:\d+)/v1$", line.strip())
        if not found:
            sys.exit(f"the service did not start: {line}{self.process.stderr.read()}")
        self.model, self.url = found.groups()
        self.key = key

    def client(self, key=None):
        return openai.OpenAI(base_url=self.url + "/v1", api_key=key or self.key, max_retries=0)

    def curl(self, path, *options, key=True):
        head = ["-H", f"Authorization: Bearer {self.key}"] if key else []
        out = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *head, *options,
                              self.url + path], capture_output=True, text=True)
        body, _, status = out.stdout.rpartition("\n")
        return int(status), body

    def metric(self, name):
        for line in self.curl("/metrics")[1].split("\n"):
            if line.startswith(name + " "):
                return float(line.split()[-1])
        return 0.0


class Checks:
    def __init__(self):
        self.failed = self.passed = 0

    def check(self, what, good, shown=""):
        self.passed += bool(good)
        self.failed += not good
        tail = f":  {shown}" if shown else ""
        print(f"{'ok    ' if good else 'FAILED'}  {what}{tail}", flush=True)

    def raises(self, what, kind, call, code=None, param=None):
        try:
            call()
        except openai.APIStatusError as e:
            good = (isinstance(e, kind) and (code is None or e.code == code) and
                    (param is None or e.param == param))
            self.check(what, good, f"{type(e).__name__} {e.status_code} {e.code}: "
                                   f"{(e.body or {}).get('message', '')}")
        else:
            self.check(what, False, "no error")


def chat(service, client, **more):
    more = {"messages": MESSAGES, "max_tokens": 40, "seed": 7, "temperature": 0.8, **more}
    return client.chat.completions.create(model=service.model, **more)


def check_chat(c, service, client):
    reply = chat(service, client, logprobs=True)
    choice = reply.choices[0]
    c.check("chat", choice.message.content and choice.finish_reason in ("stop", "length"),
            repr(choice.message.content))
    u = reply.usage
    c.check("usage", u.total_tokens == u.prompt_tokens + u.completion_tokens, str(u.total_tokens))
    tokens = choice.logprobs.content
    c.check("log-probabilities", "".join(t.token for t in tokens) == choice.message.content and
            all(t.logprob <= 0 for t in tokens), f"{len(tokens)} tokens")
    again = chat(service, client)
    c.check("the same seed says the same", again.choices[0].message.content ==
            choice.message.content)
    several = chat(service, client, n=3, max_completion_tokens=16)
    texts = [x.message.content for x in several.choices]
    c.check("n = 3 gives three", [x.index for x in several.choices] == [0, 1, 2] and
            len(set(texts)) == 3 and texts[0] == choice.message.content[:len(texts[0])])


def check_likely(c, service, client):
    more = {"logprobs": True, "top_logprobs": 20, "temperature": 1.2}
    choice = chat(service, client, **more).choices[0]
    tokens = choice.logprobs.content
    sums = [sum(math.exp(t.logprob) for t in token.top_logprobs) for token in tokens]
    c.check("20 likely tokens, sorted", all(
        len(t.top_logprobs) == 20 and t.top_logprobs == sorted(
            t.top_logprobs, key=lambda other: -other.logprob) for t in tokens) and
            max(sums) < 1 + 1e-4, f"{len(tokens)} tokens, shares from {min(sums):.3f}")
    c.check("the sampled token is among them where it is likely", all(
        any((o.token, o.logprob, o.bytes) == (t.token, t.logprob, t.bytes) for o in t.top_logprobs)
        for t in tokens if t.logprob >= t.top_logprobs[-1].logprob))
    said = b"".join(bytes(t.bytes) for t in tokens).decode()
    c.check("bytes make up the text", said == choice.message.content)
    streamed = [t for p in chat(service, client, stream=True, **more) if p.choices[0].logprobs
                for t in p.choices[0].logprobs.content]
    c.check("a stream has the same lists", streamed == tokens)
    emoji = chat(service, client, temperature=0, **{k: more[k] for k in more if k != "temperature"},
                 messages=[{"role": "user", "content": "Repeat exactly: \U0001F999\U0001F984"}])
    parts = [t for t in emoji.choices[0].logprobs.content for t in t.top_logprobs
             if "\ufffd" in t.token]
    c.check("a part of a character has its bytes", all(t.bytes for t in parts),
            f"{len(parts)} parts")
    text = client.completions.create(model=service.model, prompt="One, two,", max_tokens=10,
                                     temperature=0, logprobs=5).choices[0].logprobs
    c.check("completions have likely tokens too", all(
        len(top) in (5, 6) and top[token] == logprob == max(top.values()) for top, token, logprob in
        zip(text.top_logprobs, text.tokens, text.token_logprobs)), str(text.top_logprobs[0]))


def check_cached(c, service, client):
    long = [{"role": "user", "content": "A story of a fox. " * 40 + str(time.time())}]
    first, again = (chat(service, client, messages=long, max_tokens=2).usage for _ in range(2))
    known = [u.prompt_tokens_details.cached_tokens for u in (first, again)]
    c.check("cached tokens are told", known[0] < 64 and
            known[1] == (again.prompt_tokens - 1) // 64 * 64, f"{known} of {again.prompt_tokens}")


def check_stop_strings(c, service, client):
    def ask(**more):
        return chat(service, client, n=4, max_tokens=60, temperature=1.0, **more)

    free = ask()
    words = [x.message.content for x in free.choices]
    stops = [words[0][20:23], words[1][30:33], "\n\n\n\n", "zzzz"]
    before = service.metric("mlagent_new_tokens_total")
    cut = ask(stop=stops)
    told = cut.usage.completion_tokens
    computed = service.metric("mlagent_new_tokens_total") - before
    c.check("four stop strings cut", all(
        x.message.content == w[:min((w.find(s) for s in stops if s in w), default=len(w))]
        for x, w in zip(cut.choices, words)), repr(stops))
    c.check("nothing is computed after a stop string", computed == told <
            free.usage.completion_tokens, f"{computed:.0f} of {free.usage.completion_tokens}")
    texts = {}
    for piece in ask(stop=stops, stream=True):
        for x in piece.choices:
            texts[x.index] = texts.get(x.index, "") + (x.delta.content or "")
    c.check("n = 4 with stop strings as a stream", texts == {
        x.index: x.message.content for x in cut.choices})


def check_stream(c, service, client):
    whole = chat(service, client)
    pieces = list(chat(service, client, stream=True, stream_options={"include_usage": True}))
    text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
    ends = [p.choices[0].finish_reason for p in pieces if p.choices and p.choices[0].finish_reason]
    c.check("a stream says the same", text == whole.choices[0].message.content,
            f"{len(pieces)} pieces")
    c.check("a stream ends", ends == [whole.choices[0].finish_reason] and
            pieces[-1].usage.completion_tokens == whole.usage.completion_tokens, str(ends))
    stop = text[len(text) // 2:len(text) // 2 + 4]
    pieces = list(chat(service, client, stream=True, stop=[stop]))
    cut = "".join(p.choices[0].delta.content or "" for p in pieces)
    c.check("a stop string is never shown", cut == text[:text.index(stop)], repr(stop))
    emoji = list(chat(service, client, stream=True, temperature=0, messages=[
        {"role": "user", "content": "Repeat exactly: \U0001F999 caf\u00e9 \u4eba\u5de5"}]))
    shown = "".join(p.choices[0].delta.content or "" for p in emoji)
    c.check("a stream has whole characters", "\ufffd" not in shown, repr(shown))


def check_completions(c, service, client):
    prompts = ["import numpy as", "def add(a, b):"]
    reply = client.completions.create(model=service.model, prompt=prompts, max_tokens=12,
                                      temperature=0, logprobs=1)
    for choice, wanted in zip(reply.choices, (" np", "b")):
        c.check("completion", wanted in choice.text and
                "".join(choice.logprobs.tokens) == choice.text, repr(choice.text))
    stream = client.completions.create(model=service.model, prompt="import numpy as", max_tokens=12,
                                       temperature=0, stream=True)
    text = "".join(p.choices[0].text for p in stream)
    c.check("completion as a stream", text == reply.choices[0].text)


def check_embeddings(c, service, client):
    texts = ["Use more trees in the forest.", "Use fewer trees in the forest.", "The soup is cold."]
    coded = client.embeddings.create(model=service.model, input=texts)     # the client asks base64
    plain = client.embeddings.create(model=service.model, input=texts, encoding_format="float")
    raw = client.embeddings.with_raw_response.create(model=service.model, input=texts[0],
                                                     encoding_format="base64")
    data = base64.b64decode(json.loads(raw.text)["data"][0]["embedding"])
    vectors = [d.embedding for d in plain.data]
    dot = [[sum(a * b for a, b in zip(u, v)) for v in vectors] for u in vectors]
    c.check("embeddings have length 1", all(abs(dot[i][i] - 1) < 1e-4 for i in range(3)),
            f"{len(vectors[0])} dimensions")
    c.check("embeddings follow meaning", dot[0][1] > dot[0][2],
            f"{dot[0][1]:.3f} > {dot[0][2]:.3f}")
    ids = [[1000 + i for i in range(40)], [7, 8, 9]]
    by_ids = client.embeddings.create(model=service.model, input=ids)
    one = client.embeddings.create(model=service.model, input=ids[1])
    c.check("token ids are embedded", one.data[0].embedding == by_ids.data[1].embedding and
            by_ids.usage.prompt_tokens == 43)
    long = [5] * 2000
    ends = client.embeddings.create(model=service.model, input=[long + [9], long + [10]]).data
    c.check("a long text is read to its end", ends[0].embedding != ends[1].embedding)
    c.check("base64 and numbers agree", all(
        abs(a - b) < 1e-6 for x, y in zip(coded.data, plain.data)
        for a, b in zip(x.embedding, y.embedding)) and
        list(struct.unpack(f"<{len(data) // 4}f", data))[:3] ==
        [struct.unpack("<f", struct.pack("<f", v))[0] for v in vectors[0][:3]])


def check_models(c, service, client):
    names = [m.id for m in client.models.list()]
    c.check("models", names == [service.model] and
            client.models.retrieve(service.model).id == service.model, str(names))


def check_errors(c, service, client):
    bad, missing = openai.BadRequestError, openai.NotFoundError
    c.raises("unknown model", missing, lambda: client.chat.completions.create(
        model="gpt-none", messages=MESSAGES), "model_not_found")
    c.raises("unknown model, retrieved", missing, lambda: client.models.retrieve("gpt-none"),
             "model_not_found")
    c.raises("unknown role", bad, lambda: chat(service, client, messages=[
        {"role": "wizard", "content": "x"}]), "invalid_value")
    c.raises("wrong type", bad, lambda: chat(service, client, temperature="hot"), "invalid_type")
    c.raises("context exceeded", bad, lambda: chat(service, client, max_tokens=1000000),
             "context_length_exceeded")
    c.raises("a long prompt", bad, lambda: chat(service, client, messages=[
        {"role": "user", "content": "word " * 40000}]), "context_length_exceeded")
    for name, value in (("tools", [{"type": "function", "function": {"name": "f"}}]),
                        ("logit_bias", {"5": 10}), ("presence_penalty", 0.5),
                        ("frequency_penalty", -0.5), ("response_format", {"type": "json_object"}),
                        ("modalities", ["text", "audio"])):
        c.raises(f"{name} is refused", bad, lambda: chat(service, client, **{name: value}),
                 "unsupported_parameter", name)
    for name, value in (("echo", True), ("suffix", "x"), ("best_of", 3), ("logit_bias", {"5": 1})):
        c.raises(f"{name} is refused", bad, lambda: client.completions.create(
            model=service.model, prompt="x", **{name: value}), "unsupported_parameter", name)
    for name, value in (("top_logprobs", 21), ("n", 0), ("temperature", -1), ("stop", [""]),
                        ("stream_options", {"include_usage": True})):
        c.raises(f"{name} is wrong", bad, lambda: chat(service, client, logprobs=True,
                                                       **{name: value}), "invalid_value", name)
    c.raises("a text over the context", bad, lambda: client.embeddings.create(
        model=service.model, input="word " * 40000), "context_length_exceeded", "input")
    c.raises("a token that is none", bad, lambda: client.embeddings.create(
        model=service.model, input=[10 ** 9]), "invalid_value", "input")
    c.raises("other dimensions", bad, lambda: client.embeddings.create(
        model=service.model, input="x", dimensions=8), "invalid_value", "dimensions")
    c.raises("wrong key", openai.AuthenticationError,
             lambda: service.client("another").models.list(), "invalid_api_key")


def refused(c, service, what, status, code, path, *options):
    got, text = service.curl(path, *options)
    error = json.loads(text)["error"]
    c.check(f"curl: {what}", got == status and error["code"] == code and error["message"] and
            error["type"] == "invalid_request_error" and "param" in error, f"{got} {text}")


def check_curl_refusals(c, service):
    chats, typed = "/v1/chat/completions", ("-H", "Content-Type: application/json", "-d")
    refused(c, service, "bad JSON", 400, "invalid_json", chats, *typed, "{")
    refused(c, service, "missing messages", 400, "missing_required_parameter", chats, *typed,
            json.dumps({"model": service.model}))
    refused(c, service, "unknown model", 404, "model_not_found", chats, *typed,
            json.dumps({"model": "gpt-none", "messages": MESSAGES}))
    refused(c, service, "form instead of JSON", 415, "unsupported_content_type", chats, "-d", "{}")
    refused(c, service, "wrong method", 405, "method_not_allowed", chats)
    refused(c, service, "unknown path", 404, "unknown_url", "/v1/chats")
    refused(c, service, "unknown path, posted", 404, "unknown_url", "/v1/responses", *typed, "{}")


HOSTILE = ("[", '{"a":', "[],", "{},", '"",', "0,", '{"":[]},', "1.5,")


def memory_mb(service, line="VmRSS"):
    with open(f"/proc/{service.process.pid}/status") as f:
        return next(int(x.split()[1]) for x in f if x.startswith(line + ":")) / 1024


def check_hostile_bodies(c, service):
    with open(f"/proc/{service.process.pid}/clear_refs", "w") as f:
        f.write("5")        # the peak begins anew
    before = memory_mb(service)
    answers = set()
    for unit in HOSTILE:
        body = ("" if unit in HOSTILE[:2] else "[") + unit * ((4 << 20) // len(unit) - 1)
        out = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", "-H",
                              f"Authorization: Bearer {service.key}", "-H",
                              "Content-Type: application/json", "--data-binary", "@-",
                              service.url + "/v1/chat/completions"], input=body,
                             capture_output=True, text=True)
        answers.add((out.stdout[-3:], json.loads(out.stdout[:-4])["error"]["code"]))
    c.check("hostile bodies of 4 MiB are refused", {a[0] for a in answers} == {"400"}, str(answers))
    grown = memory_mb(service, "VmHWM") - before
    c.check("and take little memory", grown < 16 * 4 + 16, f"{grown:.0f} MB more at the peak")


def check_curl(c, service):
    post = ("-H", "Content-Type: application/json", "-d")
    body = json.dumps({"model": service.model, "messages": MESSAGES, "max_tokens": 8})
    c.check("curl: health without a key", service.curl("/health", key=False)[0] == 200)
    c.check("curl: no key", service.curl("/v1/models", key=False)[0] == 401)
    status, text = service.curl("/v1/chat/completions", *post, body)
    c.check("curl: chat", status == 200 and json.loads(text)["choices"], text[:60] + "...")
    status, text = service.curl("/v1/chat/completions", "-N", *post,
                                json.dumps({**json.loads(body), "stream": True}))
    c.check("curl: stream", status == 200 and text.rstrip().endswith("data: [DONE]"))
    huge = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H",
                           f"Authorization: Bearer {service.key}", "-H",
                           "Content-Type: application/json", "--data-binary", "@-",
                           service.url + "/v1/chat/completions"], input=b" " * (5 << 20),
                          capture_output=True)
    c.check("curl: a body above the ceiling", huge.stdout == b"413", huge.stdout.decode())


def check_hang_up(c, service):
    before = service.metric("mlagent_engine_cancelled_total")
    tokens = service.metric("mlagent_new_tokens_total")
    body = json.dumps({"model": service.model, "prompt": "Once", "max_tokens": 1500,
                       "temperature": 1.5})
    subprocess.run(["curl", "-s", "--max-time", "1", "-H", f"Authorization: Bearer {service.key}",
                    "-H", "Content-Type: application/json", "-d", body, service.url + "/v1/completions"], capture_output=True)
    deadline = time.time() + 20
    while service.metric("mlagent_requests_live") and time.time() < deadline:
        time.sleep(0.02)
    sampled = service.metric("mlagent_new_tokens_total") - tokens
    cancelled = service.metric("mlagent_engine_cancelled_total") - before
    c.check("who hangs up is cancelled", cancelled == 1 and sampled < 1500,
            f"after {sampled:.0f} of 1500 tokens")


def check_many(c, service, client):
    def ask(i, out):
        words = [{"role": "user", "content": f"Tell me about the number {i}."}]
        out[i] = chat(service, client, seed=i, messages=words).choices[0].message.content

    together, alone = {}, {}
    threads = [threading.Thread(target=ask, args=(i, together)) for i in range(16)]
    began = time.time()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    fast = time.time() - began
    began = time.time()
    for i in range(16):
        ask(i, alone)
    slow = time.time() - began
    c.check("16 clients at once are answered as if alone", together == alone,
            f"{fast:.1f} s together, {slow:.1f} s one after another")


def check_full(c, program, model, more):
    service = Service(program, model, "--queue", "1", *more)
    client = service.client()
    stream = chat(service, client, stream=True, max_tokens=1000, temperature=1.5)
    next(iter(stream))
    try:
        chat(service, client)
        c.check("a full queue refuses", False)
    except openai.RateLimitError as e:
        c.check("a full queue refuses", e.response.headers["retry-after"] == "1",
                f"{e.status_code} {e.code}, Retry-After 1")
    stream.close()
    service.process.send_signal(signal.SIGINT)
    c.check("it stops", service.process.wait(60) == 0)


def check_stop(c, service, client):
    stream = chat(service, client, stream=True, max_tokens=200)
    pieces = [next(iter(stream))]
    service.process.send_signal(signal.SIGINT)
    pieces += list(stream)
    ended = [p.choices[0].finish_reason for p in pieces if p.choices[0].finish_reason]
    c.check("Ctrl-C lets a stream finish", len(ended) == 1, f"{len(pieces)} pieces, {ended}")
    status = service.process.wait(60)
    c.check("and the program ends with status 0", status == 0, str(status))


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default=os.path.join(here, "build/mlagent"))
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--compute", default="bf16")
    options = parser.parse_args()
    c = Checks()
    more = ("--compute", options.compute)
    service = Service(options.program, options.model, *more)
    client = service.client()
    print(f"openai {openai.__version__}, {service.model} ({options.compute}) at {service.url}")
    for check in (check_chat, check_likely, check_cached, check_stop_strings, check_stream,
                  check_completions, check_embeddings, check_models, check_errors, check_many):
        check(c, service, client)
    check_curl(c, service)
    check_curl_refusals(c, service)
    check_hostile_bodies(c, service)
    check_hang_up(c, service)
    check_full(c, options.program, options.model, more)
    check_stop(c, service, client)
    print(f"{c.passed} passed, {c.failed} failed")
    sys.exit(1 if c.failed else 0)


main()
