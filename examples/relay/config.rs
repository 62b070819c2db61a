//! The configuration: what may be in the file, and what is wrong with it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use actix_socketio::{BuildError, Client, ClientBuilder, Route, Transport};
use async_nats::{ConnectOptions, ServerAddr};

use crate::{
    reading::{Problem, Problems, Section, one_of, text},
    secret::{Auth, Secret, headers, secret},
};

/// What the daemon is to do.
#[derive(Debug)]
pub(crate) struct Config {
    /// By default, a name that nobody else has.
    pub(crate) worker: Option<String>,
    /// The address of the pages.
    pub(crate) http: SocketAddr,
    /// How long the hand-over at the end may take.
    pub(crate) hand_over: Duration,
    pub(crate) engine: EngineConfig,
    pub(crate) upstreams: Vec<UpstreamConfig>,
}

#[derive(Debug)]
pub(crate) enum EngineConfig {
    InProcess,
    Nats(Box<NatsConfig>),
}

#[derive(Debug)]
pub(crate) struct NatsConfig {
    pub(crate) servers: Vec<ServerAddr>,
    pub(crate) login: Login,
    /// Certificates to trust beside those of the system.
    pub(crate) ca: Option<PathBuf>,
    /// The certificate of this program, and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// Begins the subjects of answers to this program.
    pub(crate) inbox: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) replicas: Option<usize>,
    pub(crate) lease: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_bytes: Option<usize>,
}

#[derive(Debug)]
pub(crate) enum Login {
    None,
    Token(Secret),
    Password {
        user: String,
        password: Secret,
    },
    /// The text of a credentials file: a token (JWT), and a key. The end of its last line belongs to it.
    Credentials(Secret),
    /// The seed of a key that the server knows.
    Nkey(Secret),
}

impl Login {
    /// Whether it can be used, as far as that can be seen here. The errors of the library could quote it.
    fn check(&self) -> Result<(), &'static str> {
        let options = ConnectOptions::new();
        match self {
            Self::Credentials(text) if options.credentials(text.reveal()).is_err() => {
                Err("credentials: a file that begins with BEGIN NATS USER JWT belongs here")
            }
            Self::Nkey(seed) if !seed.reveal().starts_with("SU") => {
                Err("nkey: the seed of a user, SU…, belongs here")
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct UpstreamConfig {
    pub(crate) name: String,
    /// Its query may have a token in it.
    url: Secret,
    path: Option<String>,
    pub(crate) namespace: Option<String>,
    auth: Option<Auth>,
    headers: Vec<(String, Secret)>,
    transports: Vec<Transport>,
    route: RouteConfig,
    pub(crate) when_full: FullConfig,
    pub(crate) takeover: TakeoverConfig,
}

#[derive(Debug, Default)]
struct RouteConfig {
    /// All, if there are none.
    names: Option<Vec<String>>,
    except: Vec<String>,
}

/// What becomes of events when the log cannot keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FullConfig {
    LetGo,
    DropNewest,
    /// The last event of each name is kept.
    Latest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakeoverConfig {
    Ordered,
    Now,
}

const TRANSPORTS: [(&str, Transport); 2] =
    [("websocket", Transport::WebSocket), ("polling", Transport::Polling)];

impl Config {
    /// Reads a file of this text, whose paths begin at this folder.
    pub(crate) fn read(text: &str, folder: &Path) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new(text);
        let config = Section::file(text, &mut problems)
            .and_then(|file| Self::from_section(file, &mut problems, folder));
        let problems = problems.into_sorted();
        config.filter(|_| problems.is_empty()).ok_or(problems)
    }

    fn from_section(
        mut file: Section<'_>,
        problems: &mut Problems<'_>,
        folder: &Path,
    ) -> Option<Self> {
        let worker = file.value(problems, "worker", |value| name(text(value)?));
        let http = file.value(problems, "http", |value| {
            let expected = |_| "an address and a port belong here: \"127.0.0.1:9464\"".to_owned();
            text(value)?.parse().map_err(expected)
        });
        let hand_over = file.seconds(problems, "hand_over", 0.0..=3_600.0);
        let engine = match file.section(problems, "engine") {
            Some(section) => EngineConfig::read(section, problems, folder),
            None => Some(EngineConfig::InProcess),
        };
        let sections = file.sections(problems, "upstream");
        if sections.is_empty() {
            file.wrong(problems, None, "upstream", "is missing: [[upstream]]");
        }
        let mut names = HashMap::new();
        let read = |section| UpstreamConfig::read(section, problems, folder, &mut names);
        let upstreams = sections.into_iter().map(read).collect::<Vec<_>>();
        file.end(problems);
        Some(Self {
            worker: worker.map(|worker| worker.value),
            http: http.map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9464)), |http| http.value),
            hand_over: hand_over.unwrap_or(Duration::from_secs(20)),
            engine: engine?,
            upstreams: upstreams.into_iter().collect::<Option<_>>()?,
        })
    }
}

impl EngineConfig {
    fn read(mut section: Section<'_>, problems: &mut Problems<'_>, folder: &Path) -> Option<Self> {
        let kinds = [("in-process", false), ("nats", true)];
        if !section.has("kind") {
            section.wrong(problems, None, "kind", "is missing: \"in-process\" or \"nats\"");
        }
        let is_nats = section.word(problems, "kind", &kinds);
        if is_nats == Some(false) {
            section.end(problems);
            return Some(Self::InProcess);
        }
        let config = NatsConfig::read(&mut section, problems, folder);
        section.end(problems);
        is_nats.and(config).map(Box::new).map(Self::Nats)
    }
}

impl NatsConfig {
    fn read(section: &mut Section<'_>, problems: &mut Problems<'_>, folder: &Path) -> Option<Self> {
        if !section.has("servers") {
            section.wrong(problems, None, "servers", "is missing: [\"nats://localhost:4222\"]");
        }
        let servers = section.texts(problems, "servers").and_then(|servers| {
            let mut wrong = |error: &str| {
                section.wrong(problems, Some(&servers.span), "servers", error);
            };
            if servers.value.is_empty() {
                wrong("at least one belongs here");
            }
            let servers = servers.value.iter().map(|server| match server.parse::<ServerAddr>() {
                Ok(server) if server.has_user_pass() => {
                    wrong("a password belongs into a variable or a file: user, password");
                    None
                }
                Ok(server) => Some(server),
                // The text could have a password in it.
                Err(_) => {
                    wrong("an address has the form \"nats://host:port\"");
                    None
                }
            });
            servers.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()
        });
        let token = secret(section, problems, "token", folder);
        let user = section.text(problems, "user");
        let has_password = section.has("password");
        let password = secret(section, problems, "password", folder);
        if user.is_some() != has_password {
            section.wrong(problems, None, "user, password", "one does not go without the other");
        }
        let credentials = secret(section, problems, "credentials", folder);
        let nkey = secret(section, problems, "nkey", folder);
        let user = user.zip(password);
        let is_given = [token.is_some(), user.is_some(), credentials.is_some(), nkey.is_some()];
        if is_given.into_iter().filter(|given| *given).count() > 1 {
            let keys = "token, user, credentials, nkey";
            section.wrong(problems, None, keys, "only one of them can be used");
        }
        let login = match (token, user, credentials, nkey) {
            (Some(token), ..) => Login::Token(token),
            (_, Some((user, password)), ..) => Login::Password { user: user.value, password },
            (.., Some(credentials), _) => {
                Login::Credentials(Secret::new(credentials.reveal().to_owned() + "\n"))
            }
            (.., Some(nkey)) => Login::Nkey(nkey),
            _ => Login::None,
        };
        if let Err(error) = login.check() {
            section.wrong(problems, None, "login", error);
        }
        let mut path = |key| section.text(problems, key).map(|path| folder.join(path.value));
        let (ca, certificate, key) = (path("ca"), path("certificate"), path("key"));
        if certificate.is_some() != key.is_some() {
            section.wrong(problems, None, "certificate, key", "one does not go without the other");
        }
        let inbox = section.value(problems, "inbox", |value| name(text(value)?));
        let prefix = section.value(problems, "prefix", |value| name(text(value)?));
        Some(Self {
            login,
            ca,
            certificate: certificate.zip(key),
            inbox: inbox.map(|inbox| inbox.value),
            prefix: prefix.map(|prefix| prefix.value),
            replicas: section.number(problems, "replicas", 1..=5),
            lease: section.seconds(problems, "lease", 2.0..=3_600.0),
            max_age: section.seconds(problems, "max_age", 10.0..=315_360_000.0),
            max_bytes: section.number(problems, "max_bytes", (1 << 20)..=(1 << 50)),
            servers: servers?,
        })
    }
}

impl UpstreamConfig {
    /// `names` has the names before, with the line.
    fn read(
        mut section: Section<'_>,
        problems: &mut Problems<'_>,
        folder: &Path,
        names: &mut HashMap<String, Range<usize>>,
    ) -> Option<Self> {
        let name = if section.has("name") {
            section.value(problems, "name", |value| name(text(value)?))
        } else {
            section.needed(problems, "name")
        };
        if let Some(name) = &name {
            if names.insert(name.value.clone(), name.span.clone()).is_some() {
                let text = format_args!("{:?} is there already", name.value);
                section.wrong(problems, Some(&name.span), "name", text);
            }
            section.rename(format!("upstream {:?}", name.value));
        }
        let url = section.needed(problems, "url");
        let path = section.text(problems, "path");
        let namespace = section.value(problems, "namespace", |value| {
            let namespace = text(value)?;
            let is_namespace = namespace.starts_with('/') && !namespace.contains([',', '?']);
            let expected = || "a namespace such as \"/orders\" belongs here".to_owned();
            is_namespace.then_some(namespace).ok_or_else(expected)
        });
        let auth = Auth::read(&mut section, problems, folder);
        let headers = headers(&mut section, problems, folder);
        let transports = section.value(problems, "transports", |value| {
            let expected = || "a list of \"websocket\" and \"polling\" belongs here".to_owned();
            let values = value.as_array().ok_or_else(expected)?;
            let words = values.iter().map(|word| word.get_ref().as_str().ok_or_else(expected));
            let transports = words.map(|word| one_of(word?, &TRANSPORTS));
            let transports = transports.collect::<Result<Vec<_>, _>>()?;
            if transports.is_empty() { Err(expected()) } else { Ok(transports) }
        });
        let route = section.section(problems, "route").map(|mut section| {
            let names = section.texts(problems, "names").map(|names| names.value);
            let except = section.texts(problems, "except").map(|names| names.value);
            section.end(problems);
            RouteConfig { names, except: except.unwrap_or_default() }
        });
        let full = [
            ("let-go", FullConfig::LetGo),
            ("drop-newest", FullConfig::DropNewest),
            ("latest", FullConfig::Latest),
        ];
        let when_full = section.word(problems, "when_full", &full);
        let takeovers = [("ordered", TakeoverConfig::Ordered), ("now", TakeoverConfig::Now)];
        let takeover = section.word(problems, "takeover", &takeovers);
        let at_url = url.as_ref().map(|url| url.span.clone());
        let config = url.zip(name).map(|(url, name)| Self {
            name: name.value,
            url: Secret::new(url.value),
            path: path.map(|path| path.value),
            namespace: namespace.map(|namespace| namespace.value),
            auth,
            headers,
            transports: transports.map(|transports| transports.value).unwrap_or_default(),
            route: route.unwrap_or_default(),
            when_full: when_full.unwrap_or(FullConfig::LetGo),
            takeover: takeover.unwrap_or(TakeoverConfig::Ordered),
        });
        match config.as_ref().map(Self::check) {
            Some(Err(error @ BuildError::Url(_))) => {
                section.wrong(problems, at_url.as_ref(), "url", error);
            }
            Some(Err(error)) => section.wrong(problems, None, "client", error),
            Some(Ok(())) | None => {}
        }
        section.end(problems);
        config
    }

    /// Its client.
    pub(crate) fn client(&self) -> ClientBuilder {
        let mut builder = Client::builder(self.url.reveal()).name(&self.name);
        if let Some(path) = &self.path {
            builder = builder.path(path);
        }
        if let Some(auth) = self.auth.clone() {
            builder = builder.auth_with(move |_| std::future::ready(auth.value()));
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value.reveal());
        }
        if !self.transports.is_empty() {
            builder = builder.transports(self.transports.iter().copied());
        }
        builder
    }

    /// Which events go to the log.
    pub(crate) fn route(&self) -> Route {
        let RouteConfig { names, except } = &self.route;
        let route = names.as_ref().map_or_else(Route::all, Route::names);
        route.except(except)
    }

    /// Whether a client could be built, without starting one.
    fn check(&self) -> Result<(), BuildError> {
        let builder = self.client();
        // What an arbiter is given before its system runs is not done, and this system never runs.
        let check = thread::spawn(move || {
            let _system = actix::System::new();
            builder.start().map(drop)
        });
        check.join().unwrap_or(Err(BuildError::NoArbiter))
    }
}

/// A name of a worker or an upstream.
fn name(text: String) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=128).contains(&text.len()) && text.bytes().all(is_allowed) {
        Ok(text)
    } else {
        Err("a name has letters, digits, - and _, at most 128".to_owned())
    }
}
