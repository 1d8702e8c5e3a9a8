//! The boxes that MP4 files are made of.

/// The first bytes of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Four letters.
    pub kind: [u8; 4],
    /// Its own length.
    pub length: u64,
    /// That of the whole box.
    pub size: u64,
}

impl Head {
    /// The longest head.
    pub const MAX_LENGTH: usize = 16;

    /// Reads the head of the box at the beginning of `bytes`, of which `remaining` bytes follow up to the end of what holds it.
    /// None where no box begins; one that is longer than `remaining` is cut.
    pub fn read(bytes: &[u8], remaining: u64) -> Option<Self> {
        let mut fields = Fields(bytes);
        let short = fields.u32()?;
        let kind = fields.array()?;
        let (length, size) = match short {
            0 => (8, remaining),
            1 => (16, fields.u64()?),
            short => (8, u64::from(short)),
        };
        (kind.iter().all(|letter| (b' '..=b'~').contains(letter)) && size >= length).then_some(Self { kind, length, size })
    }
}

/// The boxes in `bytes` with what they hold, up to the first that is cut or is none.
pub fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let head = Head::read(bytes, bytes.len() as u64)?;
        let size = usize::try_from(head.size).ok().filter(|size| *size <= bytes.len())?;
        let (whole, behind) = bytes.split_at(size);
        bytes = behind;
        Some((head.kind, whole.get(usize::try_from(head.length).ok()?..)?))
    })
}

/// What the first box of this kind in `bytes` holds.
pub fn first(bytes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    boxes(bytes).find(|(found, _)| *found == kind).map(|(_, held)| held)
}

/// Numbers one after the other, the first byte the highest.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, behind) = self.0.split_at_checked(length)?;
        self.0 = behind;
        Some(taken)
    }

    /// The next bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next eight bytes with a sign.
    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// The first four bytes of a full box: version and flags.
    pub fn version_and_flags(&mut self) -> Option<(u8, u32)> {
        let [version, flags @ ..] = self.array::<4>()?;
        Some((version, u32::from_be_bytes([0, flags[0], flags[1], flags[2]])))
    }

    /// A number that has 64 bits in version 1 and 32 in version 0. Of later versions nothing is known.
    pub fn by_version(&mut self, version: u8) -> Option<u64> {
        match version {
            0 => self.u32().map(u64::from),
            1 => self.u64(),
            _ => None,
        }
    }
}
