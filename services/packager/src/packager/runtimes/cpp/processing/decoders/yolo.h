/// YOLO heads: one column an anchor, to be suppressed, or one row an object of a graph that needs no suppression.
///
/// After box and classes an anchor holds what its task adds: mask coefficients, keypoints or an angle. Numbers of a
/// keypoint lie together: x, y and, where there are three, its confidence.
#pragma once

#include "processing/decoders/base.h"

namespace modelport {

/// [1, 4 + C, anchors]: centre x, centre y, width, height and C class scores per anchor; the best class counts.
Candidates yolo_v8(const Raw& outputs, const Model& model, double confidence);
/// [1, 4 + C + M, anchors], the last rows being coefficients of the prototypes [1, M, h, w].
Candidates yolo_v8_segment(const Raw& outputs, const Model& model, double confidence);
/// [1, 4 + C + points * numbers, anchors].
Candidates yolo_v8_pose(const Raw& outputs, const Model& model, double confidence);
/// [1, 4 + C + 1, anchors], the last row being the angle in radians; boxes are cx cy w h angle.
Candidates yolo_v8_obb(const Raw& outputs, const Model& model, double confidence);

/// [1, K, 6]: x1 y1 x2 y2 score class, already suppressed or never in need of it.
Candidates yolo_end2end(const Raw& outputs, const Model& model, double confidence);
/// [1, K, 6 + M] and the prototypes [1, M, h, w].
Candidates yolo_end2end_segment(const Raw& outputs, const Model& model, double confidence);
/// [1, K, 6 + points * numbers].
Candidates yolo_end2end_pose(const Raw& outputs, const Model& model, double confidence);
/// [1, K, 7]: cx cy w h score class angle.
Candidates yolo_end2end_obb(const Raw& outputs, const Model& model, double confidence);

}  // namespace modelport
