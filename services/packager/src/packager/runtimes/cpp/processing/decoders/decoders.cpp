#include "processing/decoders/classifiers.h"
#include "processing/decoders/detr.h"
#include "processing/decoders/yolo.h"

namespace modelport {

namespace {

Planes semantic_logits(const Raw& outputs) { return planes(*outputs[0]); }

}  // namespace

const std::map<std::string, Decoder>& decoders() {
    // kind, function; then, where they differ from 1, false, false, false: outputs, rotated, masks, keypoints
    static const std::map<std::string, Decoder> table{
        {"softmax", {Kind::classes, softmax}},
        {"probabilities", {Kind::classes, probabilities}},
        {"yolo_v8", {Kind::objects, yolo_v8}},
        {"yolo_v8_segment", {Kind::objects, yolo_v8_segment, 2, false, true}},
        {"yolo_v8_pose", {Kind::objects, yolo_v8_pose, 1, false, false, true}},
        {"yolo_v8_obb", {Kind::objects, yolo_v8_obb, 1, true}},
        {"yolo_end2end", {Kind::objects, yolo_end2end}},
        {"yolo_end2end_segment", {Kind::objects, yolo_end2end_segment, 2, false, true}},
        {"yolo_end2end_pose", {Kind::objects, yolo_end2end_pose, 1, false, false, true}},
        {"yolo_end2end_obb", {Kind::objects, yolo_end2end_obb, 1, true}},
        {"detr_softmax", {Kind::objects, detr_softmax, 2}},
        {"detr_sigmoid", {Kind::objects, detr_sigmoid, 2}},
        {"semantic_logits", {Kind::regions, semantic_logits, 1, false, true}},
    };
    return table;
}

}  // namespace modelport
