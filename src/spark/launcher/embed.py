#!/usr/bin/env python3
"""embed.py FILE OUT.cc: the bytes of the launcher's jar as a function of the library."""
import sys

data = open(sys.argv[1], "rb").read()
rows = [", ".join(f"0x{byte:02x}" for byte in data[i : i + 20]) for i in range(0, len(data), 20)]
with open(sys.argv[2], "w") as out:
    out.write('#include "spark/launcher.hpp"\n\nnamespace rayx::spark {\nnamespace {\n\n')
    out.write("alignas(16) constexpr unsigned char kJar[] = {\n    " + ",\n    ".join(rows) + "};\n\n}  // namespace\n\n")
    out.write("std::span<const std::byte> launcher_jar() { return std::as_bytes(std::span(kJar)); }\n\n}  // namespace rayx::spark\n")
