// Advantages: pure functions of arrays.
#include <math.h>

#include "train/train.h"

void mla_advantage_gae(double reward, const float *value, int n, double gamma, double lambda,
                       float *advantage, float *returns) {
    double next_value = 0, next_advantage = 0;
    for (int t = n - 1; t >= 0; t--) {
        double r = t == n - 1 ? reward : 0;
        double delta = r + gamma * next_value - value[t];
        next_advantage = delta + gamma * lambda * next_advantage;
        next_value = value[t];
        advantage[t] = (float)next_advantage;
        returns[t] = (float)(next_advantage + value[t]);
    }
}

void mla_advantage_whiten(float *advantage, int n) {
    if (n < 2) return;
    double mean = 0, var = 0;
    for (int i = 0; i < n; i++) mean += advantage[i];
    mean /= n;
    for (int i = 0; i < n; i++) var += (advantage[i] - mean) * (advantage[i] - mean);
    double sd = sqrt(var / (n - 1));
    double scale = sd > 1e-8 ? 1 / sd : 1;
    for (int i = 0; i < n; i++) advantage[i] = (float)((advantage[i] - mean) * scale);
}
