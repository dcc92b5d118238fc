// Which settings recognise handwritten digits best? Random search with early stopping: many settings get a little training, the better
// third goes on with three times as much, and so on. The data are 1,797 real digits of 8 by 8 grey values (docs/spark.md says from where).
//
//   RAYX_SPARK_MASTER=spark://host:6066 spark_hyperparameter_tuning [NODES] DIGITS.csv
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>

#include "demo_cluster.hpp"

namespace {

constexpr std::size_t kPixels = 64;
constexpr std::size_t kDigits = 10;
constexpr int kSettings = 27;
constexpr int kEpochsFirst = 3;

struct Data {
  std::vector<float> pixels;  // kPixels for each digit
  std::vector<int> labels;
  std::size_t size() const { return labels.size(); }
};

struct Settings {
  double step = 0.1;       // of gradient descent
  double decay = 0;        // of the weights
  int hidden = 16;         // units of the hidden layer
  std::uint64_t seed = 1;  // of the first weights and the order
};

// A network of one hidden layer; what a trial has learned so far goes back to the driver and on to the next node.
struct Network {
  std::vector<float> first;   // hidden x (kPixels + 1)
  std::vector<float> second;  // kDigits x (hidden + 1)
};

struct Trial {
  Settings settings;
  Network network;
  int epochs = 0;
  double accuracy = 0;  // on the digits that were held back
};

void forward(const Network& network, const float* pixels, std::vector<float>& hidden, std::vector<float>& scores) {
  for (std::size_t h = 0; h < hidden.size(); ++h) {
    const float* const weights = &network.first[h * (kPixels + 1)];
    float sum = weights[kPixels];
    for (std::size_t i = 0; i < kPixels; ++i) sum += weights[i] * pixels[i];
    hidden[h] = std::tanh(sum);
  }
  float most = -1e30f;
  for (std::size_t d = 0; d < kDigits; ++d) {
    const float* const weights = &network.second[d * (hidden.size() + 1)];
    scores[d] = weights[hidden.size()];
    for (std::size_t h = 0; h < hidden.size(); ++h) scores[d] += weights[h] * hidden[h];
    most = std::max(most, scores[d]);
  }
  float sum = 0;
  for (float& score : scores) sum += score = std::exp(score - most);
  for (float& score : scores) score /= sum;
}

void learn(Network& network, const Settings& settings, const float* pixels, int label, std::vector<float>& hidden,
           std::vector<float>& scores) {
  forward(network, pixels, hidden, scores);
  const auto step = static_cast<float>(settings.step);
  const auto keep = static_cast<float>(1 - settings.step * settings.decay);
  std::vector<float> back(hidden.size());
  for (std::size_t d = 0; d < kDigits; ++d) {
    const float error = scores[d] - (static_cast<int>(d) == label ? 1.0f : 0.0f);
    float* const weights = &network.second[d * (hidden.size() + 1)];
    for (std::size_t h = 0; h < hidden.size(); ++h) {
      back[h] += error * weights[h];
      weights[h] = keep * weights[h] - step * error * hidden[h];
    }
    weights[hidden.size()] -= step * error;
  }
  for (std::size_t h = 0; h < hidden.size(); ++h) {
    const float error = back[h] * (1 - hidden[h] * hidden[h]);
    float* const weights = &network.first[h * (kPixels + 1)];
    for (std::size_t i = 0; i < kPixels; ++i) weights[i] = keep * weights[i] - step * error * pixels[i];
    weights[kPixels] -= step * error;
  }
}

// The task: trains on so many more epochs. Every fifth digit is held back.
Trial train(Trial trial, const Data& data, int epochs) {
  const auto hidden_units = static_cast<std::size_t>(trial.settings.hidden);
  std::mt19937_64 random(trial.settings.seed + static_cast<std::uint64_t>(trial.epochs));
  if (trial.epochs == 0) {
    std::normal_distribution<float> normal(0, 0.1f);
    trial.network.first.resize(hidden_units * (kPixels + 1));
    trial.network.second.resize(kDigits * (hidden_units + 1));
    for (float& weight : trial.network.first) weight = normal(random);
    for (float& weight : trial.network.second) weight = normal(random);
  }
  std::vector<float> hidden(hidden_units);
  std::vector<float> scores(kDigits);
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < data.size(); ++i)
    if (i % 5 != 0) order.push_back(i);
  for (int epoch = 0; epoch < epochs; ++epoch) {
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t i : order)
      learn(trial.network, trial.settings, &data.pixels[i * kPixels], data.labels[i], hidden, scores);
  }
  trial.epochs += epochs;
  std::size_t right = 0;
  std::size_t all = 0;
  for (std::size_t i = 0; i < data.size(); i += 5, ++all) {
    forward(trial.network, &data.pixels[i * kPixels], hidden, scores);
    const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
    right += best == data.labels[i] ? 1 : 0;
  }
  trial.accuracy = static_cast<double>(right) / static_cast<double>(all);
  return trial;
}

// Lines of 64 grey values from 0 to 16 and the digit, with commas between.
Data read_digits(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  Data data;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string field;
    for (std::size_t i = 0; i < kPixels && std::getline(fields, field, ','); ++i)
      data.pixels.push_back(std::stof(field) / 16);
    if (std::getline(fields, field, ',')) data.labels.push_back(std::stoi(field));
  }
  if (data.labels.empty() || data.pixels.size() != data.labels.size() * kPixels)
    throw std::runtime_error(path + " is not a table of digits: 64 grey values and the digit in each line");
  return data;
}

Settings random_settings(std::mt19937_64& random) {
  std::uniform_real_distribution<double> exponent(0, 1);
  return {.step = std::pow(10.0, -3.5 + 3 * exponent(random)),
          .decay = std::pow(10.0, -6 + 4 * exponent(random)),
          .hidden = 4 << random() % 4,
          .seed = random()};
}

int search(int nodes, const std::string& path) {
  const Data digits = read_digits(path);
  rayx::Cluster cluster = demo_cluster(nodes);
  rayx::Runtime runtime = rayx::init();
  const auto data = rayx::put(digits);  // once; each node fetches it once
  std::mt19937_64 random(2023);
  std::vector<Trial> trials(kSettings);
  for (Trial& trial : trials) trial.settings = random_settings(random);

  int epochs = kEpochsFirst;
  while (true) {
    std::vector<rayx::ObjectRef<Trial>> running;
    for (const Trial& trial : trials)
      running.push_back(rayx::remote<train>(rayx::TaskOptions{.spread = true}, trial, data, epochs));
    trials = rayx::get(running);
    std::sort(trials.begin(), trials.end(), [](const Trial& a, const Trial& b) { return a.accuracy > b.accuracy; });
    std::printf("%2zu settings after %3d epochs: best %.1f %%, worst %.1f %%\n", trials.size(), trials.front().epochs,
                100 * trials.front().accuracy, 100 * trials.back().accuracy);
    if (trials.size() == 1) break;
    trials.resize(trials.size() / 3);
    epochs *= 3;
  }
  const Trial& best = trials.front();
  std::printf("%zu digits; best: %.1f %% of those held back are right, with step %.4f, decay %.2g, %d hidden units\n",
              digits.size(), 100 * best.accuracy, best.settings.step, best.settings.decay, best.settings.hidden);
  return best.accuracy > 0.9 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc >= 2) return search(argc > 2 ? nodes_wanted(argc, argv, 2) : 2, argv[argc - 1]);
    std::fprintf(stderr, "spark_hyperparameter_tuning [NODES] DIGITS.csv\n");
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "spark_hyperparameter_tuning: %s\n", error.what());
    return 1;
  }
}
