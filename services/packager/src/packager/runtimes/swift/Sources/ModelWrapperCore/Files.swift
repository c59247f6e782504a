import Foundation

/// Files of a package.
public enum Files {
    /// A metadata.json; throws what Foundation throws for a missing file, `metadata_unsupported` for what is no JSON object.
    public static func metadata(_ url: URL) throws -> JSON {
        let text = try Data(contentsOf: url)
        do {
            return try JSON.parse([UInt8](text))
        } catch let error as JSON.Malformed {
            throw ProcessingError.metadata("file", "is \(error)")
        }
    }
}

/// SHA-256 (FIPS 180-4), so that files can be checked where no cryptography library is.
enum Sha256 {
    /// The digest as 64 hexadecimal digits.
    static func hex(_ data: Data) -> String {
        var state: [UInt32] = [
            0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
        ]
        let whole = data.count / 64 * 64
        for start in stride(from: 0, to: whole, by: 64) {
            let first = data.startIndex + start
            add([UInt8](data[first..<(first + 64)]), &state)
        }
        let last = padded([UInt8](data.suffix(data.count - whole)), length: data.count)
        for start in stride(from: 0, to: last.count, by: 64) {
            add(Array(last[start..<(start + 64)]), &state)
        }
        return state.map { String(format: "%08x", $0) }.joined()
    }

    /// The last bytes, a one, zeros, and the length in bits.
    private static func padded(_ rest: [UInt8], length: Int) -> [UInt8] {
        var last = rest + [0x80]
        while last.count % 64 != 56 {
            last.append(0)
        }
        let bits = UInt64(length) * 8
        for shift in stride(from: 56, through: 0, by: -8) {
            last.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
        }
        return last
    }

    private static func add(_ block: [UInt8], _ state: inout [UInt32]) {
        let words = schedule(block)
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for index in 0..<64 {
            let choice = (e & f) ^ (~e & g)
            let high = turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)
            let one = h &+ high &+ choice &+ constants[index] &+ words[index]
            let most = (a & b) ^ (a & c) ^ (b & c)
            let low = turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)
            (h, g, f, e) = (g, f, e, d &+ one)
            (d, c, b, a) = (c, b, a, one &+ low &+ most)
        }
        for (index, word) in [a, b, c, d, e, f, g, h].enumerated() {
            state[index] = state[index] &+ word
        }
    }

    private static func schedule(_ block: [UInt8]) -> [UInt32] {
        var words: [UInt32] = []
        for place in stride(from: 0, to: 64, by: 4) {
            let high = UInt32(block[place]) << 24 | UInt32(block[place + 1]) << 16
            words.append(high | UInt32(block[place + 2]) << 8 | UInt32(block[place + 3]))
        }
        for index in 16..<64 {
            let a = words[index - 15]
            let b = words[index - 2]
            let first = turned(a, 7) ^ turned(a, 18) ^ (a >> 3)
            let second = turned(b, 17) ^ turned(b, 19) ^ (b >> 10)
            words.append(words[index - 16] &+ first &+ words[index - 7] &+ second)
        }
        return words
    }

    private static func turned(_ word: UInt32, _ by: UInt32) -> UInt32 {
        return (word >> by) | (word << (32 - by))
    }

    /// The first 32 bits of the fractions of the cube roots of the first 64 primes.
    private static let constants: [UInt32] = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ]
}
