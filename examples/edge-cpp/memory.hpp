// What a client keeps on its disk, so that it may end at any moment and go on where it was.

#ifndef EDGE_MEMORY_HPP
#define EDGE_MEMORY_HPP

#include <cstdint>
#include <string>
#include <vector>

namespace edge {

// Written before what it tells of is sent. A client that comes back and is asked for what it did already answers with
// what it kept: doing it again after `mark_trained` would choose other records.
struct Memory {
    std::vector<std::uint8_t> state;   // of fedhds::Client
    std::vector<std::uint8_t> order;   // the last order that it carried out
    std::vector<std::uint8_t> update;  // and the answer to it

    // What a file holds; nothing where there is none, or, with a warning, where it is damaged: a client that cannot remember begins anew, as
    // a new device does.
    static Memory load(const std::string& path);

    // Replaces the file: after a crash there is the old one or the new one, whole.
    void save(const std::string& path) const;
};

}  // namespace edge

#endif
