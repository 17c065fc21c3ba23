# `mlagent tasks noise` runs a script behind this text: every whole number that seeds a generator is
# moved, wherever the script has it from (a literal, a variable, a loop). Generators without a seed
# are the environment's to seed. What has its own seeds when none is given (lightgbm, xgboost, torch)
# gets one.
def _move_seeds(by):
    import builtins
    import random
    import sys

    import numpy

    names = ("seed", "entropy", "x", "a")

    def moved(seed):
        if isinstance(seed, (int, numpy.integer)):
            return (int(seed) + by) % 2**32 if 0 <= seed < 2**32 else int(seed) + by
        if isinstance(seed, (list, tuple, numpy.ndarray)):
            return [moved(part) for part in numpy.asarray(seed).tolist()]
        if isinstance(seed, str):
            return f"{seed}+{by}"
        return seed

    def of_call(seed, keywords):
        return [moved(s) for s in seed[:1]] + list(seed[1:]), {
            name: moved(value) if name in names else value for name, value in keywords.items()}

    def moved_function(function):
        def call(*seed, **keywords):
            seed, keywords = of_call(seed, keywords)
            return function(*seed, **keywords)
        return call

    def moved_class(cls):
        # An object of the class itself, as numpy's global generator is, is one of this class too.
        class Meta(type(cls)):
            def __instancecheck__(self, thing):
                return isinstance(thing, cls)

            def __subclasscheck__(self, other):
                return issubclass(other, cls)

        class Moved(cls, metaclass=Meta):
            def __init__(self, *seed, **keywords):
                seed, keywords = of_call(seed, keywords)
                super().__init__(*seed, **keywords)

            if hasattr(cls, "seed"):
                def seed(self, *seed, **keywords):
                    seed, keywords = of_call(seed, keywords)
                    super().seed(*seed, **keywords)
        for name in ("__name__", "__qualname__", "__module__"):     # objects can be pickled
            setattr(Moved, name, getattr(cls, name))
        return Moved

    changed = [(random, "seed", moved_function), (random, "Random", moved_class),
               (numpy.random, "seed", moved_function),
               (numpy.random, "default_rng", moved_function)]
    changed += [(numpy.random, name, moved_class) for name in (
        "RandomState", "SeedSequence", "MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")]
    new = {}
    for module, name, change in changed:
        old = getattr(module, name)
        new[id(old)] = old, change(old)
    for module in list(sys.modules.values()):      # others have imported them by name
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in new and value is new[id(value)][0]:
                setattr(module, name, new[id(value)][1])

    def with_seed(parameters):
        parameters = dict(parameters or {})
        given = [name for name, value in parameters.items() if value is not None
                 and (name == "random_state" or name.endswith("seed"))]
        for name in given:
            parameters[name] = moved(parameters[name])
        return parameters if given else {**parameters, "random_state": by}

    def lightgbm(module):
        basic = module.basic
        to_text = basic._param_dict_to_str
        basic._param_dict_to_str = lambda parameters: to_text(with_seed(parameters))

    def xgboost(module):
        booster = module.Booster
        init = booster.__init__
        booster.__init__ = lambda self, params=None, *rest, **keywords: init(
            self, with_seed(params), *rest, **keywords)

    def torch(module):
        module.manual_seed = moved_function(module.manual_seed)
        module.manual_seed(0)

    later = {"lightgbm": lightgbm, "xgboost": xgboost, "torch": torch}
    depth = 0

    def change_loaded():
        for name in [name for name in later if name in sys.modules]:
            later.pop(name)(sys.modules[name])

    plain_import = builtins.__import__

    def import_(*args, **keywords):
        nonlocal depth
        depth += 1
        try:
            return plain_import(*args, **keywords)
        finally:
            depth -= 1
            if depth == 0:
                change_loaded()

    change_loaded()
    builtins.__import__ = import_
