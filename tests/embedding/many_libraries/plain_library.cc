// One of hundreds: the test compiles this once and puts other numbers in place of 100000. It knows nothing of rayx.
extern int libraries_made;

namespace {
struct Made {
  Made() { ++libraries_made; }
} made;
}  // namespace

int number_of_library_100000(int x) { return x + 100000; }
