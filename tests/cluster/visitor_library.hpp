// A library of the visitor's that no other host has.
#pragma once

int private_triple(int x);
