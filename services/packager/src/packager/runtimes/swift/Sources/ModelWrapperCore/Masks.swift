/// Pixels of a picture as COCO's uncompressed run lengths.
///
/// `counts` go down the columns, left to right, and begin with the number of pixels outside.
public struct Mask: Equatable, Sendable {
    public let size: ImageSize
    public let counts: [Int]

    /// For each pixel, row by row, whether it is inside.
    public func pixels() -> [Bool] {
        var inside = [Bool](repeating: false, count: size.height * size.width)
        var position = 0
        for (index, count) in counts.enumerated() {
            if index % 2 == 1 {
                for place in position..<(position + count) {
                    inside[(place % size.height) * size.width + place / size.height] = true
                }
            }
            position += count
        }
        return inside
    }

    /// How many pixels are inside.
    public var area: Int {
        var total = 0
        for (index, count) in counts.enumerated() where index % 2 == 1 {
            total += count
        }
        return total
    }
}

/// A mask as run lengths, which is how predictions carry it: small, exact, and of a bounded size.
enum Masks {
    /// Of all masks of one picture together: noise would make the answer larger than the picture.
    static let maxRuns = 1 << 20

    /// The mask of a picture of `size` whose pixels lie in `region`, which begins at (top, left).
    static func encode(_ region: BitPlane, top: Int, left: Int, size: ImageSize) throws -> Mask {
        var starts: [Int] = []
        var ends: [Int] = []
        for column in 0..<region.width {
            let origin = (column + left) * size.height + top
            var isInside = false
            for row in 0..<region.height {
                let value = region.values[row * region.width + column]
                if value && !isInside {
                    starts.append(origin + row)
                } else if !value && isInside {
                    ends.append(origin + row)
                }
                isInside = value
            }
            if isInside {
                ends.append(origin + region.height)
            }
        }
        try checkRuns(starts.count + ends.count)
        return fromRuns(starts, ends, size)
    }

    /// Of pixels from `starts` to before `ends`, counted down the columns, ascending; runs that touch become one.
    static func fromRuns(_ starts: [Int], _ ends: [Int], _ size: ImageSize) -> Mask {
        var counts: [Int] = []
        var position = 0
        for (start, end) in zip(starts, ends) {
            if start == position && !counts.isEmpty {
                counts[counts.count - 1] += end - start
            } else {
                counts.append(start - position)
                counts.append(end - start)
            }
            position = end
        }
        if position < size.area || counts.isEmpty {
            counts.append(size.area - position)
        }
        return Mask(size: size, counts: counts)
    }

    /// Throws where so many would be too large an answer.
    static func checkRuns(_ number: Int) throws {
        if number > maxRuns {
            throw ProcessingError.answer(
                "the masks of this picture need more than \(maxRuns) numbers; a smaller picture, a higher "
                    + "confidence_threshold or a lower max_detections gives fewer")
        }
    }
}

/// A picture of one bit a pixel, row by row.
struct BitPlane {
    let height: Int
    let width: Int
    let values: [Bool]
}
