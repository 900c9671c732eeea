//! Dates shifted by whole days, in the forms DICOM has (PS3.5 6.2).

/// Days since 1970-01-01 of a date of the Gregorian calendar; none when there is no such day.
fn days_of(year: i32, month: u32, day: u32) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is the last; eras of 400 years have 146,097 days.
    let (month, day) = (i64::from(month), i64::from(day));
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The inverse of [`days_of`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Shifts a DA value: `YYYYMMDD`, or `YYYY.MM.DD` of ACR-NEMA. None when it is no date.
pub fn shift_date(text: &str, days: i32) -> Option<String> {
    let text = text.trim_matches([' ', '\0']);
    let has_dots = text.len() == 10
        && text.char_indices().all(|(i, c)| if i == 4 || i == 7 { c == '.' } else { c.is_ascii_digit() });
    let digits: String = if has_dots { text.replace('.', "") } else { text.to_owned() };
    if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let from = days_of(
        digits.get(..4)?.parse().ok()?,
        digits.get(4..6)?.parse().ok()?,
        digits.get(6..8)?.parse().ok()?,
    )?;
    let (year, month, day) = date_of(from + i64::from(days));
    (0..=9999).contains(&year).then(|| format!("{year:04}{month:02}{day:02}"))
}

/// Shifts a DT value, whose time and offset from UTC stay. A value without month or day cannot be shifted by days and
/// gives none, as does anything that is no DT.
pub fn shift_datetime(text: &str, days: i32) -> Option<String> {
    let text = text.trim_matches([' ', '\0']);
    let (date, rest) = text.split_at_checked(8)?;
    let is_rest = rest.len() <= 18 && rest.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
    let date = shift_date(date, days)?;
    is_rest.then(|| format!("{date}{rest}"))
}

/// Whether a TM value is one: `HH`, `HHMM`, `HHMMSS`, with a fraction, or with colons as in ACR-NEMA.
pub fn is_time(text: &str) -> bool {
    let text = text.trim_matches([' ', '\0']);
    (2..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b".:".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_five_centuries_and_back() {
        let mut expected = days_of(1800, 1, 1).unwrap();
        // 1970-01-01 is day 0, 2000-03-01 day 11017 (as `date -d … +%s` / 86400 says).
        assert_eq!((days_of(1970, 1, 1), days_of(2000, 3, 1)), (Some(0), Some(11_017)));
        for year in 1800..2300 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let Some(days) = days_of(year, month, day) else { continue };
                    assert_eq!(days, expected);
                    assert_eq!(date_of(days), (i64::from(year), i64::from(month), i64::from(day)));
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn intervals_stay() {
        assert_eq!(shift_date("20040119", -366).unwrap(), "20030118");
        assert_eq!(shift_date("2004.03.01", -1).unwrap(), "20040229");
        assert_eq!(shift_datetime("20040301120000.5+0100", -1).unwrap(), "20040229120000.5+0100");
        for bad in ["", "2004", "20041332", "20040230", "LEAK0119", "00000101", "2004-1-19"] {
            assert_eq!(shift_date(bad, -1), None, "{bad}");
        }
        for bad in ["2004", "200401", "20040119 SMITH", "ä0040119"] {
            assert_eq!(shift_datetime(bad, -1), None, "{bad}");
        }
        assert!(is_time("120000.123") && is_time("12:30:00") && !is_time("noon") && !is_time(""));
    }
}
