// The public header in a C++ program that is linked with the library's objects.
#include <bitnet_ffi.h>

#include <catch2/catch.hpp>

#include <string>

TEST_CASE("the library is of the header's version") {
    REQUIRE(std::string(bitnet_version()) == BITNET_FFI_VERSION_STRING);
}
