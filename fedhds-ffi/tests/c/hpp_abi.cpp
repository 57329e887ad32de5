// A program whose header is of another ABI version than the library that it finds: every call says so, and nothing of
// the library runs.

#include <fedhds.h>

#undef FEDHDS_ABI_VERSION
#define FEDHDS_ABI_VERSION 99

#include "check.h"

#include <fedhds.hpp>

#include <string>

int main() {
    const fedhds::Result<fedhds::Method> method = fedhds::Method::create("preset = \"random\"");
    CHECK(!method && method.error().status() == FEDHDS_STATUS_CONFIG);
    const std::string message = method.error().what();
    CHECK(message.find("ABI version 99, got " + std::to_string(fedhds_abi_version())) != std::string::npos);
    const float values[] = {1, 2, 3, 4};
    const fedhds::MatrixView view(values, 2, 2);
    // The defaults of another version are not taken either.
    CHECK(fedhds::TsneConfig().struct_size == 0);
    CHECK(fedhds::tsne(view, {}, 1).error().status() == FEDHDS_STATUS_CONFIG);
    CHECK(fedhds::Control::create().error().status() == FEDHDS_STATUS_CONFIG);
    CHECK(!fedhds::threads() && !fedhds::rouge_l("a", {"a"}) && !fedhds::set_threads(1));
    return DONE;
}
