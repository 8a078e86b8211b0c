// The main function of every C test program. Apart, because compiling Catch2's runner takes longer than all tests do.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
