#include "memory.hpp"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <unistd.h>

namespace edge {

namespace {

using Bytes = std::vector<std::uint8_t>;

void put(Bytes& to, const Bytes& part) {
    for (int shift = 56; shift >= 0; shift -= 8) {
        to.push_back(static_cast<std::uint8_t>(std::uint64_t{part.size()} >> shift));
    }
    to.insert(to.end(), part.begin(), part.end());
}

Bytes take(const Bytes& from, std::size_t& at, const std::string& path) {
    constexpr std::size_t length_bytes = 8;
    std::uint64_t length = 0;
    if (from.size() - at >= length_bytes) {
        for (std::size_t end = at + length_bytes; at < end; ++at) length = (length << 8) | from[at];
        if (from.size() - at >= length) {
            const auto begin = from.begin() + static_cast<std::ptrdiff_t>(at);
            at += static_cast<std::size_t>(length);
            return Bytes(begin, begin + static_cast<std::ptrdiff_t>(length));
        }
    }
    throw std::runtime_error(path + ": expected the memory of a client, got a file that ends early");
}

void check(bool done, const std::string& path) {
    if (!done) throw std::system_error(errno, std::generic_category(), path);
}

}  // namespace

Memory Memory::load(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return {};
    const Bytes bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    try {
        std::size_t at = 0;
        Memory memory;
        for (Bytes* part : {&memory.state, &memory.order, &memory.update}) *part = take(bytes, at, path);
        if (at == bytes.size()) return memory;
        throw std::runtime_error(path + ": expected the memory of a client, got more than one");
    } catch (const std::runtime_error& error) {
        std::fprintf(stderr, "%s; it begins anew\n", error.what());
        return {};
    }
}

void Memory::save(const std::string& path) const {
    Bytes bytes;
    for (const Bytes* part : {&state, &order, &update}) put(bytes, *part);
    const std::string fresh = path + ".new";
    std::FILE* file = std::fopen(fresh.c_str(), "wb");
    check(file != nullptr, fresh);
    const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size() && std::fflush(file) == 0 &&
                         fsync(fileno(file)) == 0;
    check(std::fclose(file) == 0 && written, fresh);
    check(std::rename(fresh.c_str(), path.c_str()) == 0, path);
    // The rename itself is in the folder, which has to reach the disk too.
    const std::size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    const int opened = open(folder.c_str(), O_RDONLY);
    if (opened >= 0) {
        fsync(opened);
        close(opened);
    }
}

}  // namespace edge
