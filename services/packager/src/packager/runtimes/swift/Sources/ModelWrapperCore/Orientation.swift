extension RGBImage {
    /// The picture upright, undoing an EXIF orientation of 1 to 8; any other is taken for 1.
    public func turned(_ orientation: Int) -> RGBImage {
        let isOnItsSide = orientation >= 5 && orientation <= 8
        let isFlipped = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8
        let isMirrored = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7
        let rows = isOnItsSide ? width : height
        let columns = isOnItsSide ? height : width
        var bytes: [UInt8] = []
        bytes.reserveCapacity(pixels.count)
        for row in 0..<rows {
            for column in 0..<columns {
                let y = isFlipped ? rows - 1 - row : row
                let x = isMirrored ? columns - 1 - column : column
                let start = isOnItsSide ? (x * width + y) * 3 : (y * width + x) * 3
                bytes.append(contentsOf: pixels[start..<(start + 3)])
            }
        }
        return RGBImage(rows: rows, columns: columns, bytes: bytes)
    }
}
