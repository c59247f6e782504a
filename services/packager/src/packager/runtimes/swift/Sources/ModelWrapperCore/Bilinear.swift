/// Of each output index: both neighbours in the input, and how much the second weighs (float32, 0 to 1).
struct Taps {
    let first: [Int]
    let second: [Int]
    let weight: [Float]

    var count: Int {
        return first.count
    }

    /// Those of the outputs from `start` to before `stop`.
    func part(_ start: Int, _ stop: Int) -> Taps {
        let end = min(stop, count)
        return Taps(
            first: Array(first[start..<end]), second: Array(second[start..<end]), weight: Array(weight[start..<end]))
    }

    /// The input indices that are needed.
    func span() -> Range<Int> {
        return first[0]..<(second[count - 1] + 1)
    }

    /// The same where the input lacks its first `by` values.
    func moved(_ by: Int) -> Taps {
        return Taps(first: first.map { $0 - by }, second: second.map { $0 - by }, weight: weight)
    }
}

/// A picture of one channel, float32, row by row.
struct Plane {
    let height: Int
    let width: Int
    let values: [Float]
}

/// Bilinear resampling with half-pixel centres, as torch's `interpolate(align_corners=False)` does it, in float32.
enum Bilinear {
    /// Of one axis: `(i + 0.5) * source / target - 0.5`, never below 0.
    static func taps(source: Int, target: Int) -> Taps {
        let scale = Float(source) / Float(target)
        var first: [Int] = []
        var second: [Int] = []
        var weight: [Float] = []
        for index in 0..<target {
            let centre = (Float(index) + 0.5) * scale
            let position = max(centre - 0.5, 0)
            let neighbour = min(Int(position), source - 1)
            first.append(neighbour)
            second.append(min(neighbour + 1, source - 1))
            weight.append(min(position - Float(neighbour), 1))
        }
        return Taps(first: first, second: second, weight: weight)
    }

    /// The columns resampled.
    static func across(_ plane: Plane, _ columns: Taps) -> Plane {
        var values: [Float] = []
        values.reserveCapacity(plane.height * columns.count)
        for y in 0..<plane.height {
            let row = y * plane.width
            for x in 0..<columns.count {
                let weight = columns.weight[x]
                let left = plane.values[row + columns.first[x]] * (1 - weight)
                let right = plane.values[row + columns.second[x]] * weight
                values.append(left + right)
            }
        }
        return Plane(height: plane.height, width: columns.count, values: values)
    }

    /// The rows resampled.
    static func down(_ plane: Plane, _ rows: Taps) -> Plane {
        var values: [Float] = []
        values.reserveCapacity(rows.count * plane.width)
        for y in 0..<rows.count {
            let weight = rows.weight[y]
            let upper = rows.first[y] * plane.width
            let lower = rows.second[y] * plane.width
            for x in 0..<plane.width {
                let above = plane.values[upper + x] * (1 - weight)
                let below = plane.values[lower + x] * weight
                values.append(above + below)
            }
        }
        return Plane(height: rows.count, width: plane.width, values: values)
    }

    /// Both, horizontally first, over no more of the input than the taps need.
    static func resample(_ plane: Plane, _ rows: Taps, _ columns: Taps) -> Plane {
        let span = rows.span()
        let part = Plane(
            height: span.count,
            width: plane.width,
            values: Array(plane.values[(span.lowerBound * plane.width)..<(span.upperBound * plane.width)]))
        return down(across(part, columns), rows.moved(span.lowerBound))
    }
}
