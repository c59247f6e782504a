import Foundation

/// One object of the metadata and its path, for messages.
struct Section {
    let values: JSON
    let path: String

    /// The path of a member.
    func field(_ name: String) -> String {
        return path.isEmpty ? name : "\(path).\(name)"
    }

    func section(_ name: String) throws -> Section {
        let value = try needed(name)
        guard value.asMembers != nil else {
            throw ProcessingError.metadata(field(name), "must be an object")
        }
        return Section(values: value, path: field(name))
    }

    /// Whether the member is there and not null.
    func has(_ name: String) -> Bool {
        guard let value = values[name] else {
            return false
        }
        return value != JSON.null
    }

    /// The member's value; throws where it is missing.
    func needed(_ name: String) throws -> JSON {
        guard let value = values[name], value != JSON.null else {
            throw ProcessingError.metadata(field(name), "is missing")
        }
        return value
    }

    /// The value of an enumeration whose raw values are the words of metadata.json.
    func oneOf<Word>(_ name: String, default fallback: Word? = nil) throws -> Word
    where Word: CaseIterable & RawRepresentable, Word.RawValue == String {
        if let word = fallback, values[name] == nil {
            return word
        }
        let value = try needed(name)
        guard let text = value.asText, let word = Word(rawValue: text) else {
            throw unknown(name, value, known: Word.allCases.map { $0.rawValue })
        }
        return word
    }

    /// The word, which is one of those known.
    @discardableResult
    func expect(_ name: String, among known: [String], default fallback: String) throws -> String {
        guard let value = values[name] else {
            return fallback
        }
        guard let text = value.asText, known.contains(text) else {
            throw unknown(name, value, known: known)
        }
        return text
    }

    /// The error for a value that is not among those known.
    func unknown(_ name: String, _ value: JSON, known: [String]) -> ProcessingError {
        return ProcessingError.metadata(field(name), "\(value) is unknown; known: \(known.joined(separator: ", "))")
    }

    func text(_ name: String) throws -> String {
        guard let text = try needed(name).asText else {
            throw ProcessingError.metadata(field(name), "must be a string")
        }
        return text
    }

    func number(_ name: String, default fallback: Double? = nil, from low: Double = -1e30, to high: Double = 1e30) throws
        -> Double
    {
        if let number = fallback, values[name] == nil {
            return number
        }
        let value = try needed(name)
        guard let number = value.asNumber, number >= low, number <= high else {
            let range = String(format: "%g to %g", low, high)
            throw ProcessingError.metadata(field(name), "must be a number from \(range), not \(value)")
        }
        return number
    }

    func integer(_ name: String, default fallback: Int? = nil, from low: Int, to high: Int) throws -> Int {
        if let integer = fallback, values[name] == nil {
            return integer
        }
        let number = try self.number(name, from: Double(low), to: Double(high))
        guard let integer = Int(exactly: number) else {
            throw ProcessingError.metadata(field(name), "must be an integer, not \(number)")
        }
        return integer
    }

    func flag(_ name: String, default fallback: Bool) throws -> Bool {
        guard let value = values[name] else {
            return fallback
        }
        guard let flag = value.asBool else {
            throw unknown(name, value, known: ["true", "false"])
        }
        return flag
    }

    func size(_ name: String) throws -> ImageSize {
        let pair = try elements(name, count: 2, what: "[height, width]")
        return ImageSize(
            height: try pair.integer("0", from: 1, to: Spec.maxSide),
            width: try pair.integer("1", from: 1, to: Spec.maxSide))
    }

    func sizeOrNil(_ name: String) throws -> ImageSize? {
        guard has(name) else {
            return nil
        }
        return try size(name)
    }

    func triple(_ name: String, default fallback: [Double]) throws -> [Double] {
        if values[name] == nil {
            return fallback
        }
        let parts = try elements(name, count: 3, what: "three numbers")
        return [try parts.number("0"), try parts.number("1"), try parts.number("2")]
    }

    /// The elements of an array as members that are called by their numbers.
    func elements(_ name: String, count: Int, what: String) throws -> Section {
        guard let array = try needed(name).asArray, array.count == count else {
            throw ProcessingError.metadata(field(name), "must be \(what)")
        }
        let members = array.enumerated().map { JSON.Member(key: String($0.offset), value: $0.element) }
        return Section(values: .object(members), path: field(name))
    }
}
