// Mapped files, memory and the clock: what they give, and the sentences when they cannot.
#include <catch2/catch.hpp>

extern "C" {
#include "bnf_error.h"
#include "bnf_platform.h"
}

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace {

struct Folder { // a fresh folder that goes away with its files
    std::string path;
    std::vector<std::string> files;
    Folder()
    {
        char name[] = "/tmp/bnf_test_XXXXXX";
        path = mkdtemp(name);
    }
    ~Folder()
    {
        for (const std::string &file : files)
            unlink(file.c_str());
        rmdir(path.c_str());
    }
    std::string file(const std::string &name, const std::string &content)
    {
        files.push_back(path + "/" + name);
        std::ofstream(files.back(), std::ios::binary) << content;
        return files.back();
    }
};

bool is_zero(const void *memory, size_t size)
{
    const char *bytes = static_cast<const char *>(memory);
    return size == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, size - 1) == 0);
}

std::string map_error(const std::string &path, int code)
{
    bnf_map map{reinterpret_cast<const uint8_t *>(1), 1};
    CHECK(bnf_map_file(path.c_str(), &map) == code);
    CHECK(map.data == nullptr);
    CHECK(map.size == 0);
    bnf_unmap(&map);
    return bnf_error_text();
}

} // namespace

TEST_CASE("a mapped file shows its bytes", "[platform]")
{
    Folder folder;
    const std::string content = "GGUF and some more";
    bnf_map map;
    REQUIRE(bnf_map_file(folder.file("a", content).c_str(), &map) == 0);
    CHECK(std::string(reinterpret_cast<const char *>(map.data), map.size) == content);
    bnf_unmap(&map);
    CHECK(map.data == nullptr);
    bnf_unmap(&map);
}

TEST_CASE("a file that cannot be mapped is named, with the reason", "[platform]")
{
    Folder folder;
    const std::string missing = folder.path + "/missing";
    CHECK(map_error(missing, BITNET_ERROR_NOT_FOUND) == "'" + missing + "': no such file");
    const std::string below = folder.file("plain", "x") + "/below";
    CHECK(map_error(below, BITNET_ERROR_NOT_FOUND) == "'" + below + "': no such file");
    CHECK(map_error(folder.path, BITNET_ERROR_LOAD) == "'" + folder.path + "': is a directory, expected a file");
    const std::string empty = folder.file("empty", "");
    CHECK(map_error(empty, BITNET_ERROR_LOAD) == "'" + empty + "': the file is empty");
    CHECK(map_error("/dev/null", BITNET_ERROR_LOAD) == "'/dev/null': is not a regular file");
}

TEST_CASE("a pipe in place of a file does not hang", "[platform]")
{
    Folder folder;
    const std::string pipe = folder.path + "/pipe";
    folder.files.push_back(pipe);
    REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
    CHECK(map_error(pipe, BITNET_ERROR_LOAD) == "'" + pipe + "': is not a regular file");
}

TEST_CASE("a file without permission says so", "[platform]")
{
    Folder folder;
    const std::string secret = folder.file("secret", "x");
    chmod(secret.c_str(), 0);
    if (access(secret.c_str(), R_OK) == 0)
        return; // root reads everything
    CHECK(map_error(secret, BITNET_ERROR_LOAD) == "'" + secret + "': no permission to read it");
}

TEST_CASE("no path is an error, not a crash", "[platform]")
{
    bnf_map map;
    CHECK(bnf_map_file(nullptr, &map) == BITNET_ERROR_NOT_FOUND);
    CHECK(std::string(bnf_error_text()) == "the path is NULL, expected a file name");
}

TEST_CASE("memory of any size is aligned, zero and ours", "[platform]")
{
    const size_t huge = (size_t)2 << 20;
    const size_t sizes[] = {0, 1, 63, 64, 65, 4096, huge - 1, huge, huge + 1, 3 * huge + 12345};
    for (size_t size : sizes) {
        void *memory = bnf_alloc(size);
        REQUIRE(memory != nullptr);
        CHECK(reinterpret_cast<uintptr_t>(memory) % (size < huge ? 64 : huge) == 0);
        CHECK(is_zero(memory, size));
        std::memset(memory, 0xa5, size);
        bnf_release(memory);
    }
    bnf_release(nullptr);
}

TEST_CASE("memory that cannot exist is refused with its size", "[platform]")
{
    CHECK(bnf_alloc(SIZE_MAX) == nullptr);
    CHECK(bnf_error_code() == BITNET_ERROR_MEMORY);
    CHECK(bnf_alloc(SIZE_MAX / 8) == nullptr);
    CHECK(std::string(bnf_error_text()) == "out of memory: 2305843009213693951 bytes were asked for");
}

TEST_CASE("an array's size is multiplied with care", "[platform]")
{
    CHECK(bnf_alloc_array(SIZE_MAX / 2, 4) == nullptr);
    CHECK(bnf_error_code() == BITNET_ERROR_MEMORY);
    CHECK(std::string(bnf_error_text()) == "out of memory: 9223372036854775807 elements of 4 bytes were asked for");
    CHECK(bnf_alloc_array((size_t)1 << 32, (size_t)1 << 32) == nullptr);
    void *memory = bnf_alloc_array(1000, 8);
    REQUIRE(memory != nullptr);
    CHECK(is_zero(memory, 8000));
    bnf_release(memory);
    memory = bnf_alloc_array(0, 8);
    CHECK(memory != nullptr);
    bnf_release(memory);
}

TEST_CASE("a resized block keeps its bytes and gains zeros", "[platform]")
{
    char *memory = static_cast<char *>(bnf_resize(nullptr, 0, 10));
    REQUIRE(memory != nullptr);
    std::memset(memory, 'x', 10);
    const size_t sizes[] = {10, 100, 3u << 20, 5u << 20, 50, 5};
    for (int i = 1; i < 6; i++) {
        memory = static_cast<char *>(bnf_resize(memory, sizes[i - 1], sizes[i]));
        REQUIRE(memory != nullptr);
        const size_t kept = std::min((size_t)10, sizes[i]);
        CHECK(std::string(memory, kept) == std::string(kept, 'x'));
        CHECK(is_zero(memory + kept, sizes[i] - kept));
    }
    CHECK(bnf_resize(memory, 5, SIZE_MAX / 8) == nullptr);
    CHECK(std::string(memory, 5) == "xxxxx");
    bnf_release(memory);
}

TEST_CASE("the clock counts microseconds upwards", "[platform]")
{
    const int64_t before = bnf_time_us();
    usleep(2000);
    const int64_t passed = bnf_time_us() - before;
    CHECK(passed >= 2000);
    CHECK(passed < 60000000);
}
