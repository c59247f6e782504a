/// Reads one JSON text (RFC 8259) from its bytes.
struct JSONParser {
    private static let deepest = 64
    private static let quote = UInt8(ascii: "\"")
    private static let backslash = UInt8(ascii: "\\")
    private static let escapes: [UInt8: UInt8] = [
        UInt8(ascii: "\""): UInt8(ascii: "\""),
        UInt8(ascii: "\\"): UInt8(ascii: "\\"),
        UInt8(ascii: "/"): UInt8(ascii: "/"),
        UInt8(ascii: "b"): 8,
        UInt8(ascii: "f"): 12,
        UInt8(ascii: "n"): 10,
        UInt8(ascii: "r"): 13,
        UInt8(ascii: "t"): 9,
    ]

    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// The only value of the text.
    mutating func document() throws -> JSON {
        let value = try self.value(depth: 0)
        skipSpace()
        guard place == bytes.count else {
            throw malformed("more than one value")
        }
        return value
    }

    private mutating func value(depth: Int) throws -> JSON {
        guard depth < JSONParser.deepest else {
            throw malformed("nested too deeply")
        }
        skipSpace()
        switch peek() {
        case UInt8(ascii: "{"):
            return try object(depth: depth)
        case UInt8(ascii: "["):
            return try array(depth: depth)
        case JSONParser.quote:
            return .string(try string())
        case UInt8(ascii: "t"):
            return try word("true", .bool(true))
        case UInt8(ascii: "f"):
            return try word("false", .bool(false))
        case UInt8(ascii: "n"):
            return try word("null", .null)
        default:
            return try number()
        }
    }

    private mutating func object(depth: Int) throws -> JSON {
        var members: [JSON.Member] = []
        place += 1
        skipSpace()
        if take(UInt8(ascii: "}")) {
            return .object(members)
        }
        while true {
            skipSpace()
            let key = try string()
            skipSpace()
            guard take(UInt8(ascii: ":")) else {
                throw malformed("no colon")
            }
            members.append(JSON.Member(key: key, value: try value(depth: depth + 1)))
            skipSpace()
            if take(UInt8(ascii: "}")) {
                return .object(members)
            }
            guard take(UInt8(ascii: ",")) else {
                throw malformed("no comma")
            }
        }
    }

    private mutating func array(depth: Int) throws -> JSON {
        var values: [JSON] = []
        place += 1
        skipSpace()
        if take(UInt8(ascii: "]")) {
            return .array(values)
        }
        while true {
            values.append(try value(depth: depth + 1))
            skipSpace()
            if take(UInt8(ascii: "]")) {
                return .array(values)
            }
            guard take(UInt8(ascii: ",")) else {
                throw malformed("no comma")
            }
        }
    }

    private mutating func string() throws -> String {
        guard take(JSONParser.quote) else {
            throw malformed("no string")
        }
        var text: [UInt8] = []
        while let byte = peek() {
            place += 1
            if byte == JSONParser.quote {
                return String(decoding: text, as: UTF8.self)
            }
            if byte == JSONParser.backslash {
                text.append(contentsOf: try escape())
            } else if byte < 32 {
                throw malformed("a control character")
            } else {
                text.append(byte)
            }
        }
        throw malformed("no end of a string")
    }

    private mutating func escape() throws -> [UInt8] {
        guard let letter = peek() else {
            throw malformed("no end of a string")
        }
        place += 1
        if let byte = JSONParser.escapes[letter] {
            return [byte]
        }
        guard letter == UInt8(ascii: "u") else {
            throw malformed("an unknown escape")
        }
        var units = [try unit()]
        if UTF16.isLeadSurrogate(units[0]) && take(JSONParser.backslash) {
            guard take(UInt8(ascii: "u")) else {
                throw malformed("half a character")
            }
            units.append(try unit())
        }
        return Array(String(decoding: units, as: UTF16.self).utf8)
    }

    /// Four hexadecimal digits.
    private mutating func unit() throws -> UInt16 {
        guard place + 4 <= bytes.count else {
            throw malformed("no end of a string")
        }
        let digits = String(decoding: bytes[place..<(place + 4)], as: UTF8.self)
        guard let value = UInt16(digits, radix: 16) else {
            throw malformed("no hexadecimal digits")
        }
        place += 4
        return value
    }

    private mutating func number() throws -> JSON {
        let start = place
        while let byte = peek(), isPartOfNumber(byte) {
            place += 1
        }
        let text = String(decoding: bytes[start..<place], as: UTF8.self)
        guard let value = Double(text), value.isFinite else {
            place = start
            throw malformed("no value")
        }
        return .number(value)
    }

    private func isPartOfNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"):
            return true
        case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
            return true
        default:
            return false
        }
    }

    private mutating func word(_ text: String, _ value: JSON) throws -> JSON {
        for byte in text.utf8 {
            guard take(byte) else {
                throw malformed("no value")
            }
        }
        return value
    }

    private mutating func skipSpace() {
        while let byte = peek(), byte == 32 || byte == 9 || byte == 10 || byte == 13 {
            place += 1
        }
    }

    private func peek() -> UInt8? {
        return place < bytes.count ? bytes[place] : nil
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek() == byte else {
            return false
        }
        place += 1
        return true
    }

    private func malformed(_ reason: String) -> JSON.Malformed {
        return JSON.Malformed(reason: reason, offset: place)
    }
}
