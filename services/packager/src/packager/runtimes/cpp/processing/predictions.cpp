#include "processing/predictions.h"

#include <nlohmann/json.hpp>

namespace modelport {

std::string to_json(const Prediction& prediction) {
    nlohmann::ordered_json value{
        {"class_id", prediction.class_id},
        {"class_name", prediction.class_name},
        {"confidence", prediction.confidence},
        {"bbox", nullptr},
    };
    if (prediction.bbox) value["bbox"] = *prediction.bbox;
    if (prediction.rotated_box) value["rotated_box"] = *prediction.rotated_box;
    if (prediction.keypoints) value["keypoints"] = *prediction.keypoints;
    if (prediction.mask) {
        const Size size = prediction.mask->size;
        value["mask"] = {{"size", {size.height, size.width}}, {"counts", prediction.mask->counts}};
    }
    return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace modelport
