/// Masks of objects: coefficients times prototypes, cut out of the letterbox, at the picture's own size, inside the box.
///
/// Equal to Ultralytics' `process_mask_native` (`retina_masks=True`) up to the rounding of float32; made one at a time and
/// only over the box, so that memory is that of one box.
enum Instances {
    /// Of the boxes of one picture together.
    static let maxPixels = 1 << 31
    /// Input pixels to one of a prototype, along each axis.
    private static let stride = 4
    /// Pixels that are computed at once.
    private static let strip = 1 << 18

    /// One mask for each row of coefficients and each box x1 y1 x2 y2 (source pixels), nil where it is empty.
    ///
    /// Throws `answer_too_large` where all masks together are too large.
    static func masks(_ coefficients: [[Float]], _ prototypes: Prototypes, _ boxes: [[Float]], _ source: ImageSize) throws
        -> [Mask?]
    {
        let windows = boxes.map { window($0, source) }
        if windows.reduce(0, { $0 + $1.area }) > maxPixels {
            throw ProcessingError.answer(
                "the masks of this picture cover more than \(maxPixels) pixels; a lower max_detections helps")
        }
        let grid = Grid(ImageSize(height: prototypes.height, width: prototypes.width), source)
        var made: [Mask?] = []
        var runs = 0
        for (row, window) in zip(coefficients, windows) {
            let found = try mask(row, prototypes, window, grid)
            runs += found?.counts.count ?? 0
            try Masks.checkRuns(runs)
            made.append(found)
        }
        return made
    }

    /// Rows and columns of a picture.
    private struct Window {
        let top: Int
        let left: Int
        let bottom: Int
        let right: Int

        var area: Int {
            return max(bottom - top, 0) * max(right - left, 0)
        }
    }

    /// Pixels whose index is at least the box's first edge and below its last.
    private static func window(_ box: [Float], _ source: ImageSize) -> Window {
        if !box.allSatisfy({ $0.isFinite }) {
            return Window(top: 0, left: 0, bottom: 0, right: 0)
        }
        let edges = box.map { Int($0.rounded(.up)) }
        return Window(
            top: max(edges[1], 0),
            left: max(edges[0], 0),
            bottom: min(edges[3], source.height),
            right: min(edges[2], source.width))
    }

    /// How the prototypes lie over the picture: first enlarged, then cut at (top, left), then resampled.
    struct Grid {
        let source: ImageSize
        let top: Int
        let left: Int
        let enlargedRows: Taps
        let enlargedColumns: Taps
        let rows: Taps
        let columns: Taps

        /// The letterbox is the centred one, a quarter of the input along each side.
        init(_ prototypes: ImageSize, _ source: ImageSize) {
            let whole = Instances.content(prototypes, source, Instances.stride)
            let bits =
                (Instances.stride * prototypes.height - whole.height)
                | (Instances.stride * prototypes.width - whole.width)
            let factor = Instances.stride / Instances.divisor(Instances.stride, bits | (bits >> 1))
            let content = Instances.content(prototypes, source, factor)
            self.source = source
            top = Placing.rounded(Double(factor * prototypes.height - content.height) / 2.0 - 0.1)
            left = Placing.rounded(Double(factor * prototypes.width - content.width) / 2.0 - 0.1)
            enlargedRows = Bilinear.taps(source: prototypes.height, target: factor * prototypes.height)
            enlargedColumns = Bilinear.taps(source: prototypes.width, target: factor * prototypes.width)
            rows = Bilinear.taps(source: content.height, target: source.height)
            columns = Bilinear.taps(source: content.width, target: source.width)
        }
    }

    /// Size of the picture inside the prototypes enlarged by `factor`.
    private static func content(_ prototypes: ImageSize, _ source: ImageSize, _ factor: Int) -> ImageSize {
        let gain = min(
            Double(factor * prototypes.height) / Double(source.height),
            Double(factor * prototypes.width) / Double(source.width))
        return ImageSize(
            height: max(Placing.rounded(Double(source.height) * gain), 1),
            width: max(Placing.rounded(Double(source.width) * gain), 1))
    }

    /// The greatest common divisor.
    private static func divisor(_ a: Int, _ b: Int) -> Int {
        return b == 0 ? a : divisor(b, a % b)
    }

    private static func mask(_ coefficients: [Float], _ prototypes: Prototypes, _ window: Window, _ grid: Grid) throws
        -> Mask?
    {
        if window.area == 0 {
            return nil
        }
        let columns = grid.columns.part(window.left, window.right)
        let rows = grid.rows.part(window.top, window.bottom)
        let logits = enlarged(
            coefficients,
            prototypes,
            grid.enlargedRows.part(grid.top + rows.span().lowerBound, grid.top + rows.span().upperBound),
            grid.enlargedColumns.part(grid.left + columns.span().lowerBound, grid.left + columns.span().upperBound))
        let wide = Bilinear.across(logits, columns.moved(columns.span().lowerBound))
        let inside = positive(wide, rows.moved(rows.span().lowerBound))
        guard inside.values.contains(true) else {
            return nil
        }
        return try Masks.encode(inside, top: window.top, left: window.left, size: grid.source)
    }

    /// Where the rows resampled are above 0, strip by strip.
    private static func positive(_ wide: Plane, _ rows: Taps) -> BitPlane {
        let step = max(strip / wide.width, 1)
        var values: [Bool] = []
        values.reserveCapacity(rows.count * wide.width)
        var start = 0
        while start < rows.count {
            let part = Bilinear.down(wide, rows.part(start, start + step))
            values.append(contentsOf: part.values.map { $0 > 0 })
            start += step
        }
        return BitPlane(height: rows.count, width: wide.width, values: values)
    }

    /// The mask's logits over a part of the enlarged prototypes.
    private static func enlarged(_ coefficients: [Float], _ prototypes: Prototypes, _ rows: Taps, _ columns: Taps) -> Plane {
        let tall = rows.span()
        let wide = columns.span()
        var logits = [Float](repeating: 0, count: tall.count * wide.count)
        for (index, coefficient) in coefficients.enumerated() {
            for y in 0..<tall.count {
                let row = (index * prototypes.height + tall.lowerBound + y) * prototypes.width + wide.lowerBound
                for x in 0..<wide.count {
                    logits[y * wide.count + x] += coefficient * prototypes.values[row + x]
                }
            }
        }
        let part = Plane(height: tall.count, width: wide.count, values: logits)
        return Bilinear.resample(part, rows.moved(tall.lowerBound), columns.moved(wide.lowerBound))
    }
}
