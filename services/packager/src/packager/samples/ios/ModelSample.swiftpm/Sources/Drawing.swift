import ModelWrapper
import UIKit

/// Predictions on a picture.
enum Drawing {
    private static let colors: [UIColor] = [.systemRed, .systemGreen, .systemBlue, .systemOrange, .systemPurple, .systemTeal]

    /// The picture as it is shown, one pixel a point: what a camera's orientation turned lies upright.
    static func upright(_ picture: UIImage) -> CGImage? {
        let format = UIGraphicsImageRendererFormat()
        format.scale = 1
        let size = CGSize(width: picture.size.width * picture.scale, height: picture.size.height * picture.scale)
        let drawn = UIGraphicsImageRenderer(size: size, format: format).image { _ in
            picture.draw(in: CGRect(origin: .zero, size: size))
        }
        return drawn.cgImage
    }

    /// The picture with masks, boxes, keypoints and names on it.
    static func marked(_ picture: UIImage, _ found: [Prediction]) -> UIImage {
        let format = UIGraphicsImageRendererFormat()
        format.scale = 1
        let line = max(picture.size.width, picture.size.height) / 200
        return UIGraphicsImageRenderer(size: picture.size, format: format).image { renderer in
            picture.draw(at: .zero)
            for prediction in found {
                let color = colors[abs(prediction.classId % colors.count)]
                color.setStroke()
                color.withAlphaComponent(0.4).setFill()
                renderer.cgContext.setLineWidth(line)
                if let mask = prediction.mask {
                    fill(mask, renderer.cgContext)
                }
                outline(prediction, renderer.cgContext)
                for point in prediction.keypoints ?? [] where point.confidence > 0.5 {
                    let radius = Double(line) * 2
                    let place = CGRect(x: point.x - radius, y: point.y - radius, width: 2 * radius, height: 2 * radius)
                    renderer.cgContext.fillEllipse(in: place)
                }
                name(prediction, color, line * 6)
            }
        }
    }

    /// A name and how sure the model is.
    static func caption(_ prediction: Prediction) -> String {
        return "\(prediction.className) \(Int(prediction.confidence * 100)) %"
    }

    /// Runs go down the columns: each is a rectangle one pixel wide, but for those that go on in the next column.
    private static func fill(_ mask: Mask, _ context: CGContext) {
        var position = 0
        for (index, count) in mask.counts.enumerated() {
            var start = position
            position += count
            while index % 2 == 1 && start < position {
                let row = start % mask.size.height
                let length = min(position - start, mask.size.height - row)
                context.fill(CGRect(x: start / mask.size.height, y: row, width: 1, height: length))
                start += length
            }
        }
    }

    private static func outline(_ prediction: Prediction, _ context: CGContext) {
        if let box = prediction.rotatedBox {
            context.saveGState()
            context.translateBy(x: box.centerX, y: box.centerY)
            context.rotate(by: box.angle)
            context.stroke(CGRect(x: -box.width / 2, y: -box.height / 2, width: box.width, height: box.height))
            context.restoreGState()
        } else if let box = prediction.bbox {
            context.stroke(CGRect(x: box.x1, y: box.y1, width: box.x2 - box.x1, height: box.y2 - box.y1))
        }
    }

    private static func name(_ prediction: Prediction, _ color: UIColor, _ size: CGFloat) {
        guard let box = prediction.bbox else {
            return
        }
        let look: [NSAttributedString.Key: Any] = [
            .font: UIFont.boldSystemFont(ofSize: size), .foregroundColor: UIColor.white, .backgroundColor: color,
        ]
        NSString(string: caption(prediction)).draw(at: CGPoint(x: box.x1, y: max(box.y1 - Double(size), 0)), withAttributes: look)
    }
}
