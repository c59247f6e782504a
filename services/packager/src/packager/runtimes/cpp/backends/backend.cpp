#include "backends/backend.h"

namespace modelport {

Outputs by_name(const std::vector<std::string>& names, std::vector<Array> outputs) {
    if (names.size() != outputs.size()) {
        throw MetadataError("output_spec", "names " + std::to_string(names.size()) + " outputs, the model gave " +
                                               std::to_string(outputs.size()));
    }
    Outputs made;
    for (std::size_t i = 0; i < names.size(); ++i) made[names[i]] = std::move(outputs[i]);
    return made;
}

}  // namespace modelport
