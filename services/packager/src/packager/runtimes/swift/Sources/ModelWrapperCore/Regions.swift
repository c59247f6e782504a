import Foundation

/// All pixels of one class; `bbox` encloses them, its far edges being one past the last pixel.
struct Region {
    let classId: Int
    let confidence: Double
    let bbox: BoundingBox
    let mask: Mask
}

/// Semantic segmentation: logits resampled to the picture's size, the best class of each pixel, one prediction a class.
///
/// The resampling is that of transformers' `post_process_semantic_segmentation(target_sizes=…)`, done in tiles, so that
/// memory is that of the picture and not that of the picture times the number of classes.
enum Regions {
    /// Classes times pixels of one picture.
    static let maxLogits = 1 << 31
    private static let tile = 1 << 20

    /// The classes of a picture, largest area first; the output is [1, C, h, w].
    ///
    /// `confidence` is the mean, over the pixels of a class, of its softmax probability. Throws `answer_too_large` where
    /// classes times pixels are too many, or the classes are so scattered that the masks would be.
    static func regions(_ output: FloatArray, _ source: ImageSize) throws -> [Region] {
        try Decoders.checkSingle(output, dimensions: 4)
        let classes = output.shape[1]
        if classes * source.area > maxLogits {
            throw ProcessingError.answer(
                "\(classes) classes of a picture of \(source.width) x \(source.height) pixels are too many")
        }
        let found = label(output, source)
        var areas = [Int](repeating: 0, count: classes)
        for label in found.labels {
            areas[Int(label)] += 1
        }
        let made = try runs(found.labels, source, classes).map { run in
            Region(
                classId: run.label,
                confidence: found.totals[run.label] / Double(areas[run.label]),
                bbox: run.box,
                mask: run.mask)
        }
        return made.sorted { a, b in
            let first = areas[a.classId]
            let second = areas[b.classId]
            return first == second ? a.classId < b.classId : first > second
        }
    }

    /// The best class of each pixel, row by row, and for each class the sum of its probabilities where it is best.
    private struct Labels {
        var labels: [Int32]
        var totals: [Double]
    }

    private static func label(_ output: FloatArray, _ source: ImageSize) -> Labels {
        let classes = output.shape[1]
        let rows = Bilinear.taps(source: output.shape[2], target: source.height)
        let columns = Bilinear.taps(source: output.shape[3], target: source.width)
        let wide = max(min(tile / classes, source.width), 1)
        let high = max(tile / (classes * wide), 1)
        var found = Labels(
            labels: [Int32](repeating: 0, count: source.area), totals: [Double](repeating: 0, count: classes))
        for left in stride(from: 0, to: source.width, by: wide) {
            for top in stride(from: 0, to: source.height, by: high) {
                let planes = resampled(output, rows.part(top, top + high), columns.part(left, left + wide))
                fill(&found, planes, top: top, left: left, width: source.width)
            }
        }
        return found
    }

    /// A tile of every class.
    private static func resampled(_ output: FloatArray, _ rows: Taps, _ columns: Taps) -> [Plane] {
        let height = output.shape[2]
        let width = output.shape[3]
        return (0..<output.shape[1]).map { index in
            let start = index * height * width
            let values = Array(output.values[start..<(start + height * width)])
            return Bilinear.resample(Plane(height: height, width: width, values: values), rows, columns)
        }
    }

    private static func fill(_ found: inout Labels, _ planes: [Plane], top: Int, left: Int, width: Int) {
        for y in 0..<planes[0].height {
            for x in 0..<planes[0].width {
                let place = y * planes[0].width + x
                var best = 0
                for index in planes.indices where planes[index].values[place] > planes[best].values[place] {
                    best = index
                }
                let highest = planes[best].values[place]
                var sum: Float = 0
                for plane in planes {
                    sum += exp(plane.values[place] - highest)
                }
                found.labels[(top + y) * width + left + x] = Int32(best)
                found.totals[best] += Double(1 / sum)
            }
        }
    }

    /// One class that is there: its number, the box around it, and its mask.
    private struct Run {
        let label: Int
        let box: BoundingBox
        let mask: Mask
    }

    /// Where a class's runs begin and end, counted down the columns.
    private struct Edges {
        var starts: [Int] = []
        var ends: [Int] = []
    }

    private static func runs(_ labels: [Int32], _ size: ImageSize, _ classes: Int) throws -> [Run] {
        var edges = [Edges](repeating: Edges(), count: classes)
        var begun = 0
        for column in 0..<size.width {
            var start = 0
            for row in 1...size.height {
                let label = labels[(row - 1) * size.width + column]
                if row == size.height || labels[row * size.width + column] != label {
                    edges[Int(label)].starts.append(column * size.height + start)
                    edges[Int(label)].ends.append(column * size.height + row)
                    start = row
                    begun += 1
                }
            }
        }
        try Masks.checkRuns(2 * begun)
        return edges.indices.filter { !edges[$0].starts.isEmpty }.map { label in
            Run(
                label: label,
                box: enclosing(edges[label], size),
                mask: Masks.fromRuns(edges[label].starts, edges[label].ends, size))
        }
    }

    private static func enclosing(_ edges: Edges, _ size: ImageSize) -> BoundingBox {
        var left = size.width
        var top = size.height
        var right = 0
        var bottom = 0
        for (start, end) in zip(edges.starts, edges.ends) {
            let column = start / size.height
            left = min(left, column)
            top = min(top, start % size.height)
            right = max(right, column + 1)
            bottom = max(bottom, end - column * size.height)
        }
        return BoundingBox(x1: Double(left), y1: Double(top), x2: Double(right), y2: Double(bottom))
    }
}
