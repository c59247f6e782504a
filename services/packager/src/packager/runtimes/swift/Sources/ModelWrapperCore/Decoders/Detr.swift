import Foundation

/// DETR's families: a set of queries, each with class logits and a box as fractions of the input; nothing to suppress.
enum Detr {
    /// [1, Q, C + 1], the last class being "no object", and [1, Q, 4]; each query stands for its best class.
    static func softmax(_ logits: FloatArray, _ boxes: FloatArray, _ model: Model, _ confidence: Float) throws
        -> Candidates
    {
        try checkQueries(logits, boxes)
        let classes = logits.shape[2]
        if classes < 2 {
            throw Decoders.wrong("needs logits [1, Q, classes + 1], got \(logits.shape)")
        }
        var found = Candidates()
        for query in 0..<logits.shape[1] {
            let likely = Classifiers.softmax(Array(logits.values[(query * classes)..<((query + 1) * classes)]))
            let score = likely.dropLast().reduce(-Float.infinity) { greater($0, $1) }
            if score > confidence {
                found.boxes.append(pixels(boxes, query, model))
                found.scores.append(score)
                found.classes.append(likely.firstIndex(of: score) ?? 0)
            }
        }
        return found
    }

    /// [1, Q, C] and [1, Q, 4]: the best Q of all pairs of a query and a class, so that a query may be there twice.
    static func sigmoid(_ logits: FloatArray, _ boxes: FloatArray, _ model: Model, _ confidence: Float) throws
        -> Candidates
    {
        try checkQueries(logits, boxes)
        let queries = logits.shape[1]
        let classes = logits.shape[2]
        let scores = logits.values.map { sigmoid($0) }
        let chosen = scores.indices.filter { scores[$0] > confidence }
        let best = descending(chosen.map { scores[$0] }).prefix(queries).map { chosen[$0] }
        var found = Candidates()
        for pair in best {
            found.boxes.append(pixels(boxes, pair / classes, model))
            found.scores.append(scores[pair])
            found.classes.append(pair % classes)
        }
        return found
    }

    /// 1 / (1 + exp(-x)) without overflow.
    static func sigmoid(_ x: Float) -> Float {
        let small = exp(-abs(x))
        return (x >= 0 ? 1 : small) / (1 + small)
    }

    private static func checkQueries(_ logits: FloatArray, _ boxes: FloatArray) throws {
        try Decoders.checkSingle(logits, dimensions: 3)
        try Decoders.checkSingle(boxes, dimensions: 3)
        if boxes.shape[1] != logits.shape[1] || boxes.shape[2] != 4 || logits.shape[2] < 1 {
            throw Decoders.wrong(
                "needs logits [1, Q, classes] and boxes [1, Q, 4], got \(logits.shape) and \(boxes.shape)")
        }
    }

    /// A query's fractions cx cy w h to x1 y1 x2 y2 in input pixels.
    private static func pixels(_ boxes: FloatArray, _ query: Int, _ model: Model) -> [Float] {
        let corners = Decoders.corners(Array(boxes.values[(query * 4)..<(query * 4 + 4)]))
        let width = Float(model.inputSize.width)
        let height = Float(model.inputSize.height)
        return [corners[0] * width, corners[1] * height, corners[2] * width, corners[3] * height]
    }
}
