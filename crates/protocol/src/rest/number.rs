/// A number of JSON's grammar, taken apart while it is scanned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    /// Its text.
    pub(super) text: &'a [u8],
    /// Whether it has neither fraction nor exponent.
    pub(super) integral: bool,
    negative: bool,
    /// All its digits as one number, if `exact`.
    mantissa: u64,
    /// The power of ten to multiply the mantissa by.
    exponent: i64,
    /// Whether the mantissa holds every digit: 19 significant ones always fit.
    exact: bool,
}

/// Decimal digits that always fit `u64`.
const EXACT_DIGITS: usize = 19;

/// Powers of ten that `f64` holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Integers up to here are exact in `f64`.
const EXACT_INTEGER: u64 = 1 << 53;

impl<'a> Number<'a> {
    /// Scans the number at the start of `bytes`; at fault, where a digit is missing or one is too many.
    #[inline]
    pub(super) fn scan(bytes: &'a [u8]) -> Result<Self, usize> {
        let negative = bytes.first() == Some(&b'-');
        let start = usize::from(negative);
        let Some(&first @ b'0'..=b'9') = bytes.get(start) else {
            return Err(start);
        };
        let mut mantissa = u64::from(first - b'0');
        let mut at = start + 1;
        if let Some(b'0'..=b'9') = bytes.get(at) {
            at = digits(bytes, at, &mut mantissa);
        }
        if at > start + 1 && bytes[start] == b'0' {
            // JSON has no leading zeros.
            return Err(start + 1);
        }
        let mut count = at - start;
        let mut exponent = 0;
        let mut integral = true;
        if bytes.get(at) == Some(&b'.') {
            let point = at + 1;
            at = digits(bytes, point, &mut mantissa);
            if at == point {
                return Err(at);
            }
            count += at - point;
            exponent = -i64::try_from(at - point).unwrap_or(i64::MAX);
            integral = false;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            let (power, end) = power_of_ten(bytes, at + 1)?;
            exponent = exponent.saturating_add(power);
            at = end;
            integral = false;
        }
        let text = &bytes[..at];
        Ok(Self {
            text,
            integral,
            negative,
            mantissa,
            exponent,
            exact: count <= EXACT_DIGITS || significant_digits(text) <= EXACT_DIGITS,
        })
    }

    /// The value as an integer, if it is written as one and is within 128 bits.
    #[inline]
    pub(super) fn integer(&self) -> Option<i128> {
        if !self.integral {
            return None;
        }
        if self.exact {
            let magnitude = i128::from(self.mantissa);
            return Some(if self.negative { -magnitude } else { magnitude });
        }
        std::str::from_utf8(self.text).ok()?.parse().ok()
    }

    /// The nearest `f64`; infinite where it is beyond the range.
    #[inline]
    pub(super) fn to_f64(self) -> f64 {
        if self.exact
            && self.mantissa <= EXACT_INTEGER
            && let Some(value) = self.scaled()
        {
            // Both operands are exact, so the one rounding of the operation is the right one.
            return value;
        }
        fast_float2::parse(self.text).unwrap_or(f64::NAN)
    }

    /// The nearest `f32`; infinite where it is beyond the range.
    ///
    /// The quotient of the mantissa and a power of ten as `f64` is within 2 units in its last place, since it is rounded
    /// at most twice. Rounding it to `f32` gives the nearest one unless a midpoint between two `f32` lies that close, and
    /// then, as for numbers outside `f32`'s normal range, the general algorithm decides.
    #[inline]
    pub(super) fn to_f32(self) -> f32 {
        const DROPPED_BITS: u32 = f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS;
        const MIDPOINT: u64 = 1 << (DROPPED_BITS - 1);
        const SAFE_UNITS: u64 = 4;
        if self.exact
            && let Some(value) = self.scaled()
        {
            let magnitude = value.abs();
            let dropped = value.to_bits() & ((1 << DROPPED_BITS) - 1);
            let normal = magnitude >= f64::from(f32::MIN_POSITIVE) && magnitude <= f64::from(f32::MAX);
            if normal && dropped.abs_diff(MIDPOINT) > SAFE_UNITS {
                #[allow(
                    clippy::cast_possible_truncation,
                    reason = "within f32's range; this is the rounding"
                )]
                return value as f32;
            }
        }
        fast_float2::parse(self.text).unwrap_or(f32::NAN)
    }

    /// Mantissa × 10^exponent in `f64` arithmetic, where the power is exact.
    #[inline]
    fn scaled(self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss, reason = "the callers allow for one rounding")]
        let mantissa = self.mantissa as f64;
        let power = *POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let value = if self.exponent < 0 { mantissa / power } else { mantissa * power };
        Some(if self.negative { -value } else { value })
    }
}

/// Adds the digits from `at` on to the mantissa, wrapping; returns where they end.
///
/// Eight at a time; the last ones, however many, in the same way, since a loop over them would be mispredicted for
/// nearly every number.
#[inline]
fn digits(bytes: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let values = u64::from_le_bytes(*chunk) ^ ZEROS;
        let count = leading_digits(values);
        if count == 8 {
            *mantissa = mantissa.wrapping_mul(100_000_000).wrapping_add(join(values));
            at += 8;
            continue;
        }
        // Moved to the end, with zeros before them. Two shifts, since one by 64 does not exist.
        let values = (values << 1) << (63 - 8 * count);
        *mantissa = mantissa.wrapping_mul(WHOLE_POWERS[count]).wrapping_add(join(values));
        return at + count;
    }
    while let Some(&byte @ b'0'..=b'9') = bytes.get(at) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    at
}

const ZEROS: u64 = 0x3030_3030_3030_3030;

const WHOLE_POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// How many bytes from the lowest on are 0 to 9.
#[inline]
fn leading_digits(values: u64) -> usize {
    // Sets the high bit of bytes from 10 on. Carries go upwards, past the first such byte only.
    const TO_HIGH_BIT: u64 = 0x7676_7676_7676_7676;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let others = (values.wrapping_add(TO_HIGH_BIT) | values) & HIGH_BITS;
    others.trailing_zeros() as usize / 8
}

/// The number that eight digits make, the lowest byte being the first: neighbours are joined pairwise, three times, in
/// one word.
///
/// Source: D. Lemire, "Quickly parsing eight digits", 2018.
#[inline]
fn join(values: u64) -> u64 {
    const EVERY_FOURTH: u64 = 0x0000_00ff_0000_00ff;
    const UPPER_PAIRS: u64 = 100 + (1_000_000 << 32);
    const LOWER_PAIRS: u64 = 1 + (10_000 << 32);
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let upper = (pairs & EVERY_FOURTH).wrapping_mul(UPPER_PAIRS);
    let lower = ((pairs >> 16) & EVERY_FOURTH).wrapping_mul(LOWER_PAIRS);
    upper.wrapping_add(lower) >> 32
}

/// Reads an exponent after its `e`; returns it and where it ends.
fn power_of_ten(bytes: &[u8], mut at: usize) -> Result<(i64, usize), usize> {
    let negative = bytes.get(at) == Some(&b'-');
    if let Some(b'+' | b'-') = bytes.get(at) {
        at += 1;
    }
    let start = at;
    let mut power = 0_i64;
    while let Some(&byte @ b'0'..=b'9') = bytes.get(at) {
        power = power.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
        at += 1;
    }
    if at == start {
        return Err(at);
    }
    Ok((if negative { -power } else { power }, at))
}

/// Digits of the number without the zeros before them.
#[cold]
fn significant_digits(text: &[u8]) -> usize {
    text.iter()
        .take_while(|byte| !matches!(byte, b'e' | b'E'))
        .filter(|byte| byte.is_ascii_digit())
        .skip_while(|byte| **byte == b'0')
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &str) -> Number<'_> {
        let number = Number::scan(text.as_bytes()).unwrap();
        assert_eq!(number.text, text.as_bytes());
        number
    }

    #[test]
    fn grammar() {
        for (wrong, offset) in [
            ("", 0),
            ("-", 1),
            ("01", 1),
            ("-00", 2),
            ("1.", 2),
            (".5", 0),
            ("1e", 2),
            ("1e+", 3),
            ("+1", 0),
            ("NaN", 0),
            ("-Infinity", 1),
        ] {
            assert_eq!(Number::scan(wrong.as_bytes()).unwrap_err(), offset, "{wrong}");
        }
        assert_eq!(Number::scan(b"12,").unwrap().text, b"12");
    }

    #[test]
    fn integers() {
        assert_eq!(scan("-0").integer(), Some(0));
        assert_eq!(scan("18446744073709551615").integer(), Some(i128::from(u64::MAX)));
        assert_eq!(scan("-9223372036854775808").integer(), Some(i128::from(i64::MIN)));
        assert_eq!(
            scan("123456789012345678901234567890").integer(),
            Some(123_456_789_012_345_678_901_234_567_890)
        );
        assert_eq!(scan(&"9".repeat(60)).integer(), None);
        assert_eq!(scan("1.0").integer(), None);
        assert_eq!(scan("1e3").integer(), None);
    }

    #[test]
    fn hard_floats() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0e5",
            "1e39",
            "-1e39",
            "1e400",
            "1e-400",
            "3.4028235e38",
            "3.4028236e38",
            "3.40282357e38",
            "1.17549435e-38",
            "1e-45",
            "7e-46",
            "16777217",
            "16777217.0000001",
            "16777219",
            "0.000000000000000000000000000001",
            "8388608.5",
            "8388609.5",
            "0.1",
            "1.00000017881393432617187499",
            "1.00000017881393432617187500",
            "1.00000017881393432617187501",
            "123456789012345678901234567890e-20",
            "9007199254740993",
            "1e22",
            "1e23",
            "1e99999999999999999999",
        ] {
            let number = scan(text);
            assert_eq!(number.to_f32().to_bits(), text.parse::<f32>().unwrap().to_bits(), "{text}");
            assert_eq!(number.to_f64().to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn floats_are_the_nearest(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?") {
            let number = scan(&text);
            prop_assert_eq!(number.to_f32().to_bits(), text.parse::<f32>().unwrap().to_bits());
            prop_assert_eq!(number.to_f64().to_bits(), text.parse::<f64>().unwrap().to_bits());
        }

        /// Midpoints between two FP32, and their neighbours, are where a double rounding would show.
        #[test]
        fn midpoints_round_once(bits in 0_u32..0x7f7f_ffff, nudge in -2_i64..=2) {
            let (low, high) = (f64::from(f32::from_bits(bits)), f64::from(f32::from_bits(bits + 1)));
            let near = f64::from_bits((low.midpoint(high).to_bits()).wrapping_add_signed(nudge));
            let text = format!("{near:e}");
            prop_assert_eq!(scan(&text).to_f32().to_bits(), text.parse::<f32>().unwrap().to_bits());
            let text = format!("{near}");
            prop_assert_eq!(scan(&text).to_f32().to_bits(), text.parse::<f32>().unwrap().to_bits());
        }
    }
}
