//! The command line, the demonstration and the exit code.

use super::example::example;
use super::*;

#[test]
fn an_invalid_command_line_is_one_line_with_flag_value_and_what_is_allowed() {
    const UP_TO_U16: &str = "from 1 to 65535";
    const BETWEEN_0_AND_1: &str = "above 0 and below 1";
    let lines = [
        ("--upstream foo", "absolute http URL"),
        ("--upstream localhost:9000", "absolute http URL"),
        ("--upstream /path", "absolute http URL"),
        ("--upstream http://", "absolute http URL"),
        ("--upstream http://a:0", "port"),
        ("--upstream http://a:99999", "port"),
        ("--upstream http://a/?q=1", "nor a query"),
        ("--upstream https://a", "https is not supported"),
        ("--listen 8080", "127.0.0.1:8080"),
        ("--listen 127.0.0.1:8080", "with --upstream"),
        ("--rate -1", "from 1"),
        ("--rate NaN", "from 1"),
        ("--rate 0", "from 1"),
        ("--rate 1.5", "whole number"),
        ("--burst 0", "from 1"),
        ("--timeout 0s", "above 0"),
        ("--timeout -1s", "above 0"),
        ("--timeout NaNs", "above 0"),
        ("--timeout 5", "like 250ms"),
        ("--attempt-timeout 0ms", "above 0"),
        ("--attempt-timeout 11s", "at most 10s"),
        ("--client-rate 0", "from 1"),
        ("--trust 10.0.0.1 --client-rate 1", "a network like"),
        ("--client-rate --trust 10.0.0.0/8", "required"),
        ("--in-flight 0", UP_TO_U16),
        ("--attempts 0", "from 1 to 10"),
        ("--attempts 11", "from 1 to 10"),
        ("--budget -1", "from 0 to 100"),
        ("--budget 101", "from 0 to 100"),
        ("--hedge 0", BETWEEN_0_AND_1),
        ("--hedge 1", BETWEEN_0_AND_1),
        ("--hedge NaN", BETWEEN_0_AND_1),
        ("--capacity 0", UP_TO_U16),
        ("--capacity 65536", UP_TO_U16),
        ("--queue -1", "from 0 to 1000000"),
        ("--drain -1s", "from 0s"),
        ("--settle -1s", "from 0s"),
        ("--seconds inf", "from 6 to 600"),
        ("--seconds 5", "from 6 to 600"),
        ("--seconds 7 --upstream http://a", "without --upstream"),
        ("--upstream-http2", "required"),
        ("--bogus", "unexpected"),
    ];
    for (line, allowed) in lines {
        let mut words = line.split(' ');
        let flag = words.next().unwrap().trim_end_matches("-http2");
        let value = words
            .next()
            .filter(|value| !value.starts_with("--"))
            .unwrap_or(flag);
        let parts = [flag, value, allowed];
        let line = line.replace("--client-rate --trust", "--trust");
        match Args::from(format!("gateway {line}").split(' ')) {
            Err(Stop::Wrong(what)) => {
                assert!(!what.contains('\n'), "{line}: {what}");
                for part in parts {
                    assert!(what.contains(part), "{line}: {what}");
                }
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    let args =
        Args::from("gateway --rate 7 --timeout 1.5s --upstream http://[::1]:9/x/".split(' '));
    let args = args.unwrap();
    assert_eq!(
        args.upstream
            .iter()
            .map(Target::to_string)
            .collect::<Vec<_>>(),
        ["http://[::1]:9/x"]
    );
    let limits = args.limits();
    assert_eq!(
        (limits.rate, limits.burst, limits.timeout),
        (7, 7, millis(1_500))
    );
    assert_eq!(limits.hedge, None);
    assert_eq!(args.demo_limits(1.0).hedge, Some(0.95));
    let args = Args::from("gateway --hedge 0.9 --capacity 3 --queue 0".split(' '));
    let limits = args.unwrap().limits();
    assert_eq!(limits.hedge, Some(0.9));
    assert_eq!((limits.capacity, limits.queue), (3, 0));
}

#[test]
fn flags_and_defaults_do_not_contradict_each_other() {
    for line in [
        "--timeout 20ms",
        "--timeout 1s --attempts 10 --hedge 0.5",
        "--timeout 1s --attempt-timeout 2s",
        "--timeout 1h --attempt-timeout 10s",
        "--timeout 1ms --attempts 10",
        "--attempt-timeout 1ms --hedge 0.9",
    ] {
        let args = Args::from(format!("gateway {line}").split(' ')).unwrap();
        for limits in [args.limits(), args.demo_limits(0.2)] {
            if let Err(error) = policies::upstream(&limits, |_| {}) {
                panic!("{line}: {}", args::named(&error));
            }
        }
    }
}

#[test]
fn recovery_is_the_first_success_that_lasts() {
    let samples = |served: &[u8]| -> Vec<load::Sample> {
        let at = |(i, served): (usize, &u8)| load::Sample {
            phase: 0,
            due: millis(100 + 10 * i as u64),
            waited: Duration::ZERO,
            served: *served == 1,
        };
        served.iter().enumerate().map(at).collect()
    };
    let from = millis(100);
    assert_eq!(
        load::recovery(&samples(&[1; 30]), from),
        Some(Duration::ZERO)
    );
    assert_eq!(load::recovery(&samples(&[0; 30]), from), None);
    assert_eq!(load::recovery(&samples(&[1; 10]), from), None);
    let mut late = [1; 60];
    late[..20].fill(0);
    // A lone success between failures is no recovery.
    late[10] = 1;
    assert_eq!(load::recovery(&samples(&late), from), Some(millis(200)));
}

fn gateway(args: &[&str]) -> Command {
    let mut command = example("gateway");
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = gateway(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn invalid_input_is_one_line_and_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken
        .local_addr()
        .map(|addr| (taken, addr.to_string()))
        .unwrap();
    for args in [
        &["--upstream", "http://127.0.0.1:9", "--listen", &taken.1][..],
        &["--upstream", "no url"],
        &["--rate", "-3"],
        &["--timeout", "0s"],
        &["--rate", "1", "--burst", "4000000000"],
    ] {
        let (code, out, errors) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {errors}");
        assert_eq!(out, "");
        assert_eq!(errors.lines().count(), 1, "{args:?}: {errors}");
        assert!(errors.contains(args[args.len() - 1]), "{args:?}: {errors}");
    }
    assert_eq!(run(&["--help"]).0, Some(0));
}

#[test]
fn the_demonstration_prints_a_table_and_exits_with_0() {
    let (code, out, errors) = run(&["--seconds", "6"]);
    assert_eq!(code, Some(0), "{errors}");
    let rows = |phase: &str| -> [Vec<String>; 2] {
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
        let lines = out
            .lines()
            .filter(|line| line.starts_with(&format!("| {phase} ")));
        let rows: Vec<_> = lines.map(cells).collect();
        rows.try_into()
            .unwrap_or_else(|rows| panic!("{phase}: {rows:?}: {out}"))
    };
    let number = |row: &[String], column: usize| -> f64 {
        row[column].split(' ').next().unwrap().parse().unwrap()
    };
    let (longest, upstream_calls) = (9, 10);

    // Only what holds on a busy machine too: the table is a measurement, which a test cannot judge.
    let [unprotected, _] = rows("1 % stragglers");
    assert!(number(&unprotected, longest) >= 100.0, "{out}");
    let [unprotected, protected] = rows("total outage");
    let calls = [&protected, &unprotected].map(|row| number(row, upstream_calls));
    assert!(calls[0] < calls[1], "{out}");
    for phase in ["30 % errors", "twice the capacity"] {
        rows(phase);
    }
    for phase in ["healthy", "recovery"] {
        rows(phase);
    }
}

/// The gateway as a process, before `upstream`.
#[cfg(unix)]
struct Process {
    gateway: std::process::Child,
    log: std::io::Lines<std::io::BufReader<std::process::ChildStderr>>,
    addr: String,
}

#[cfg(unix)]
impl Process {
    fn start(upstream: SocketAddr, times: &[&str]) -> Self {
        use std::io::{BufRead, BufReader};
        let upstream = format!("http://{upstream}");
        let args = ["--upstream", &upstream, "--listen", "127.0.0.1:0"];
        let mut gateway = gateway(&[&args, times].concat()).spawn().unwrap();
        let mut log = BufReader::new(gateway.stderr.take().unwrap()).lines();
        let first = log.next().unwrap().unwrap();
        let addr = first.split("listening on ").nth(1).expect("an address");
        let addr = addr.split(',').next().unwrap().to_owned();
        Self { gateway, log, addr }
    }

    /// Once it serves; before, a signal ends it at once.
    async fn serves(self) -> Self {
        let request = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answer = raw(self.addr.parse().unwrap(), request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        self
    }

    fn terminate(&self) {
        let id = self.gateway.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.unwrap().success());
    }

    /// The exit code and the last line.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.gateway.wait().unwrap().code();
        (code, self.log.map(Result::unwrap).last().unwrap())
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sv2_the_exit_code_says_whether_requests_were_cut_off() {
    let arrived = Arc::new(Semaphore::new(0));
    let arrives = Arc::clone(&arrived);
    let app = Router::new().fallback(any(move || {
        arrives.add_permits(1);
        std::future::pending::<()>()
    }));
    let behind = upstream(app).await;
    let hang = async |process: &Process| {
        let mut stream = TcpStream::connect(&process.addr).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        arrived.acquire().await.unwrap().forget();
        stream
    };
    let idle = Process::start(behind, &["--settle", "0s"]).serves().await;
    idle.terminate();
    let (code, last) = idle.end();
    assert_eq!(
        (code, last.contains("drained: Complete")),
        (Some(0), true),
        "{last}"
    );

    let late = Process::start(behind, &["--settle", "0s", "--drain", "100ms"]);
    let _stream = hang(&late).await;
    late.terminate();
    let (code, last) = late.end();
    assert_eq!(
        (code, last.contains("TimedOut { requests: 1 }")),
        (Some(1), true),
        "{last}"
    );

    let cut = Process::start(behind, &["--settle", "1m", "--drain", "1m"]);
    let _stream = hang(&cut).await;
    cut.terminate();
    // Until it drains, a second signal could be taken for the first.
    let draining = async || {
        let request = "GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answer = raw(cut.addr.parse().unwrap(), request).await;
        answer.starts_with("HTTP/1.1 503")
    };
    while !draining().await {
        sleep(millis(5)).await;
    }
    cut.terminate();
    let (code, last) = cut.end();
    assert_eq!(
        (code, last.contains("Cut { requests: 1 }")),
        (Some(2), true),
        "{last}"
    );
}
