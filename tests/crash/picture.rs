//! Pictures that say who they are: every byte follows from the number.

/// Where the number stands: behind the start of the image and the head of a comment.
const NUMBER_AT: usize = 6;
/// One empty component, one scan, the end: as much of a JPEG as the daemon looks at.
const SCAN: [u8; 12] = [0xff, 0xda, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x3f, 0x00, 0xff, 0xd9];

/// The picture of this number, some hundred bytes to 12 kB long, now and then up to 60 kB.
pub fn of(number: u32) -> Vec<u8> {
    let most = if number % 16 == 7 { 60_000 } else { 12_000 };
    let padding = usize::try_from(number.wrapping_mul(2_654_435_761) % most).unwrap();
    let mut picture = vec![0xff, 0xd8, 0xff, 0xfe];
    picture.extend(u16::try_from(2 + 4 + padding).unwrap().to_be_bytes());
    picture.extend(number.to_be_bytes());
    // No two sectors of one picture are the same.
    let mut filling = number;
    for at in 0..padding {
        if at % 61 == 0 {
            filling = filling.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        }
        picture.push((filling >> 24) as u8 ^ at as u8);
    }
    picture.extend(SCAN);
    picture
}

/// The number of a picture; panics unless it is that picture to the last byte.
#[track_caller]
pub fn number(what: &str, picture: &[u8]) -> u32 {
    let bytes = picture.get(NUMBER_AT..NUMBER_AT + 4);
    let bytes = bytes.unwrap_or_else(|| panic!("{what} is cut to {} bytes", picture.len()));
    let number = u32::from_be_bytes(bytes.try_into().unwrap());
    let whole = of(number);
    if picture != whole {
        let same = picture.iter().zip(&whole).take_while(|(is, was)| is == was).count();
        panic!("{what} ({} of {} bytes) is not picture {number} as it was sent, from byte {same} on", picture.len(), whole.len());
    }
    number
}
