// A library that only the test program has. RAYX_TEST_NAME is its function, RAYX_TEST_CALLS one that it calls or nothing.
#ifdef RAYX_TEST_CALLS
extern "C" int RAYX_TEST_CALLS();
extern "C" __attribute__((visibility("default"))) int RAYX_TEST_NAME() { return RAYX_TEST_CALLS() + 1; }
#else
extern "C" __attribute__((visibility("default"))) int RAYX_TEST_NAME() { return 40; }
#endif
