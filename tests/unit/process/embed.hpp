// A very small runtime over the fork server, for programs that link it as users link rayx.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif
// what: "say" (a worker prints a line), "hold" (workers that run until the program ends; returns), "nopidfd" (as "say", without
// the system calls for pidfds), "constructor:<x>" (the fork server gets RAYX_TEST_CONSTRUCTOR=<x>, then as "say").
// Prints what happened; returns 0 if all went well.
__attribute__((visibility("default"))) int rayx_test_embed(const char* what);
#ifdef __cplusplus
}
#endif
