//! The PROXY protocol: who a connection comes from, as an L4 balancer in front tells in its first bytes.
//!
//! Source: <https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt>, versions 1 and 2. A receiver "MUST NOT try to
//! guess whether the PROXY header is present", since whoever connects could make one up.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// "a 107-byte buffer is always enough to store all the line", less the trailing zero that C wants.
const LONGEST_LINE: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and what may come behind them. Balancers send some hundred bytes.
const LONGEST_BINARY: usize = 4_096;

/// From where, and to where. `None`: the balancer speaks for itself (a health check of its own), or does not say.
pub(super) type Told = Option<(SocketAddr, SocketAddr)>;

/// Why a header was not understood.
#[derive(Debug)]
pub(super) enum Bad {
    Io(io::Error),
    /// It begins otherwise.
    Missing,
    Malformed(&'static str),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Missing => f.write_str("the connection does not begin with a PROXY header"),
            Self::Malformed(expected) => write!(f, "malformed PROXY header: expected {expected}"),
        }
    }
}

/// Reads the header, and nothing behind it. The caller bounds the time.
pub(super) async fn read<I: AsyncRead + Unpin>(io: &mut I) -> Result<Told, Bad> {
    match io.read_u8().await? {
        b'P' => read_text(io).await,
        b'\r' => read_binary(io).await,
        _ => Err(Bad::Missing),
    }
}

async fn read_text<I: AsyncRead + Unpin>(io: &mut I) -> Result<Told, Bad> {
    let mut line = vec![b'P'];
    // A byte at a time, so that what follows stays where it is; it is one line for each connection.
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE || !b"PROXY ".starts_with(line.get(..6).unwrap_or(&line)) {
            return Err(if line.len() < 6 {
                Bad::Missing
            } else {
                Bad::Malformed("a line of at most 107 bytes")
            });
        }
        line.push(io.read_u8().await?);
    }
    text(&line)
}

fn text(line: &[u8]) -> Result<Told, Bad> {
    let line = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix("\r\n"));
    let mut words = line.ok_or(Bad::Malformed("text"))?.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let addresses = Bad::Malformed("`TCP4` or `TCP6`, two addresses of that family, and two ports");
    let told = (|| {
        let from: IpAddr = words.next()?.parse().ok()?;
        let to: IpAddr = words.next()?.parse().ok()?;
        let (from_port, to_port) = (port(words.next()?)?, port(words.next()?)?);
        let fits = match family? {
            "TCP4" => from.is_ipv4() && to.is_ipv4(),
            "TCP6" => from.is_ipv6() && to.is_ipv6(),
            _ => false,
        };
        (fits && words.next().is_none())
            .then(|| (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port)))
    })();
    told.map(Some).ok_or(addresses)
}

/// Digits alone: `parse` would let a sign pass.
fn port(word: &str) -> Option<u16> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

async fn read_binary<I: AsyncRead + Unpin>(io: &mut I) -> Result<Told, Bad> {
    let mut head = [b'\r'; 16];
    if let Some(rest) = head.get_mut(1..) {
        io.read_exact(rest).await?;
    }
    let [.., command, family, high, low] = head;
    if !head.starts_with(SIGNATURE) {
        return Err(Bad::Missing);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_BINARY {
        return Err(Bad::Malformed("at most 4096 bytes behind the head"));
    }
    let mut rest = vec![0; length];
    io.read_exact(&mut rest).await?;
    binary(command, family, &rest)
}

fn binary(command: u8, family: u8, rest: &[u8]) -> Result<Told, Bad> {
    match command {
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(Bad::Malformed("version 2 and a command that there is")),
    }
    let short = Bad::Malformed("addresses of the length that their family has");
    match family {
        0x11 => {
            let (from, to, ports) = parts::<4>(rest).ok_or(short)?;
            Ok(Some(told(Ipv4Addr::from(from).into(), Ipv4Addr::from(to).into(), ports)))
        }
        0x21 => {
            let (from, to, ports) = parts::<16>(rest).ok_or(short)?;
            Ok(Some(told(Ipv6Addr::from(from).into(), Ipv6Addr::from(to).into(), ports)))
        }
        // Unspecified, datagrams, unix sockets: "the receiver should ignore the address".
        _ => Ok(None),
    }
}

fn parts<const N: usize>(bytes: &[u8]) -> Option<([u8; N], [u8; N], [u8; 4])> {
    let (from, bytes) = bytes.split_first_chunk::<N>()?;
    let (to, bytes) = bytes.split_first_chunk::<N>()?;
    Some((*from, *to, *bytes.first_chunk::<4>()?))
}

fn told(from: IpAddr, to: IpAddr, [a, b, c, d]: [u8; 4]) -> (SocketAddr, SocketAddr) {
    (SocketAddr::new(from, u16::from_be_bytes([a, b])), SocketAddr::new(to, u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is told, and what is left unread.
    fn parse(bytes: &[u8]) -> Result<(Told, Vec<u8>), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut io = bytes;
        let told = runtime.block_on(read(&mut io)).map_err(|bad| bad.to_string())?;
        Ok((told, io.to_vec()))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
    }

    #[test]
    fn lines_tell_both_addresses_and_leave_what_follows() {
        let (told, left) = parse(b"PROXY TCP4 10.0.0.1 10.0.0.2 1234 443\r\nGET /").unwrap();
        assert_eq!(told, Some(("10.0.0.1:1234".parse().unwrap(), "10.0.0.2:443".parse().unwrap())));
        assert_eq!(left, b"GET /");
        let (told, _) = parse(b"PROXY TCP6 ::1 fe80::2 1 65535\r\n").unwrap();
        assert_eq!(told, Some(("[::1]:1".parse().unwrap(), "[fe80::2]:65535".parse().unwrap())));
        assert_eq!(parse(b"PROXY UNKNOWN\r\nx").unwrap(), (None, b"x".to_vec()));
        assert_eq!(parse(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n").unwrap().0, None);
    }

    #[test]
    fn binary_headers_tell_both_addresses_and_leave_what_follows() {
        let four = [10, 0, 0, 1, 10, 0, 0, 2, 4, 210, 1, 187, 3, 0, 1, 9];
        let (told, left) = parse(&[v2(0x21, 0x11, &four).as_slice(), b"PRI"].concat()).unwrap();
        assert_eq!(told, Some(("10.0.0.1:1234".parse().unwrap(), "10.0.0.2:443".parse().unwrap())));
        assert_eq!(left, b"PRI", "what stands behind the addresses was skipped");
        let six = [[0; 15].as_slice(), &[1], &[0; 15], &[2], &[0, 1, 0, 2]].concat();
        let (told, _) = parse(&v2(0x21, 0x21, &six)).unwrap();
        assert_eq!(told, Some(("[::1]:1".parse().unwrap(), "[::2]:2".parse().unwrap())));
        assert_eq!(parse(&v2(0x20, 0x00, &[])).unwrap().0, None, "a check of the balancer's own");
        assert_eq!(parse(&v2(0x21, 0x31, &[0; 216])).unwrap().0, None);
    }

    #[test]
    fn what_is_no_header_is_told_apart_from_one_that_is_broken() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\n", b"\x16\x03\x01", b"POST / HTTP/1.1\r\n"]
        {
            assert!(parse(bytes).unwrap_err().contains("does not begin"), "{bytes:?}");
        }
        for bytes in [
            b"PROXY TCP4 10.0.0.1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 +2\r\n".to_vec(),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n".to_vec(),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n".to_vec(),
            b"PROXY TCP9 10.0.0.1 10.0.0.2 1 2\r\n".to_vec(),
            [b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 12]),
            v2(0x21, 0x11, &[0; 5_000]),
        ] {
            assert!(parse(&bytes).unwrap_err().contains("malformed"), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(start in 0usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let start: &[u8] = [&b""[..], b"PROXY TCP4 ", SIGNATURE][start];
            let _ = parse(&[start, &bytes].concat());
        }

        #[test]
        fn addresses_come_out_as_they_went_in(from: [u8; 16], to: [u8; 16], ports: [u16; 2]) {
            let (from, to) = (Ipv6Addr::from(from), Ipv6Addr::from(to));
            let expected = Some((SocketAddr::new(from.into(), ports[0]), SocketAddr::new(to.into(), ports[1])));
            let line = format!("PROXY TCP6 {from} {to} {} {}\r\n", ports[0], ports[1]);
            prop_assert_eq!(parse(line.as_bytes()).unwrap().0, expected);
            let bytes = [&from.octets()[..], &to.octets(), &ports[0].to_be_bytes(), &ports[1].to_be_bytes()].concat();
            prop_assert_eq!(parse(&v2(0x21, 0x21, &bytes)).unwrap().0, expected);
        }
    }
}
