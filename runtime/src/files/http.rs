//! HTTP for object storage: the client that the rest of the program has, on threads that may wait. An answer is taken whole,
//! for what is asked for is a part of an object or a page of a list. Knows nothing of what is asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

use crate::error::{During as _, Error, Result};

/// How long it may take to reach the other side.
const CONNECTS_IN: Duration = Duration::from_secs(5);

/// How long it may take to have an answer whole.
const ANSWERS_IN: Duration = Duration::from_secs(120);

/// No answer is longer: what is asked for is shorter by far.
const LONGEST: u64 = 64 << 20;

/// Gives object storage its client.
#[derive(Debug)]
pub struct Connector {
    agent: ureq::Agent,
}

impl Connector {
    /// One that trusts the authorities that browsers trust, or those of a file.
    pub fn new(authorities: Option<&Path>) -> Result<Self> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = authorities {
            let trusted = trusted(path)
                .map_err(|error| error.remedy("AWS_CA_BUNDLE names a PEM file of certificates"))?;
            tls = tls.root_certs(RootCerts::Specific(Arc::new(trusted)));
        }
        // Statuses and redirects say what is wrong with a bucket: whoever asks looks at them.
        let config = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECTS_IN))
            .timeout_global(Some(ANSWERS_IN))
            .build();
        Ok(Self { agent: config.new_agent() })
    }
}

/// The certificates in a file.
fn trusted(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let unread = || format!("cannot read the certificates in `{}`", path.display());
    let text = std::fs::read(path).during(unread)?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.during(unread)? {
            certificates.push(certificate);
        }
    }
    match certificates.is_empty() {
        true => Err(Error::new(unread()).because("there is none in it")),
        false => Ok(certificates),
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client { agent: self.agent.clone() }))
    }
}

#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let agent = self.agent.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let answer = match body.is_empty() {
                true => agent.run(ureq::http::Request::from_parts(parts, ())),
                false => agent.run(ureq::http::Request::from_parts(parts, &body[..])),
            };
            let (parts, mut body) = answer?.into_parts();
            let body = body.with_config().limit(LONGEST).read_to_vec()?;
            Ok((parts, body))
        });
        let (parts, body) = answered
            .await
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?
            .map_err(|error: ureq::Error| HttpError::new(kind(&error), error))?;
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// What object storage takes an error for, to ask again or not.
fn kind(error: &ureq::Error) -> HttpErrorKind {
    use std::io::ErrorKind as Io;
    match error {
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => HttpErrorKind::Connect,
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(error) => match error.kind() {
            Io::ConnectionRefused | Io::HostUnreachable | Io::NetworkUnreachable => HttpErrorKind::Connect,
            Io::TimedOut => HttpErrorKind::Timeout,
            Io::ConnectionAborted | Io::ConnectionReset | Io::BrokenPipe | Io::UnexpectedEof => {
                HttpErrorKind::Interrupted
            }
            _ => HttpErrorKind::Unknown,
        },
        _ => HttpErrorKind::Unknown,
    }
}
