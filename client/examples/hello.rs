//! Says hello through the resilient client: `cargo run -p client --example hello -- ADDRESS NAME`.
//! It pays with nothing: a client of tonic's is made over it as over any channel.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use client::Resilient;
use servers::grpc::generated::helloworld::HelloRequest;
use servers::grpc::generated::helloworld::greeter_client::GreeterClient;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// Says hello to a gRPC server, and asks again if it must
#[derive(Parser)]
struct Args {
    /// Where the server is: `http://HOST:PORT`, or `https://HOST:PORT` with --ca
    #[arg(default_value = "http://127.0.0.1:7005")]
    address: String,

    /// Who says hello
    #[arg(default_value = "world")]
    name: String,

    /// The certificate that the server's must be signed by, PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// A token to say who this is, alone in its file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args = Args::parse();
    let token = args.token_file.as_deref().map(token).transpose()?;
    let resilient = Resilient::builder()
        .timeout(Duration::from_secs(10))
        .idempotent("/helloworld.Greeter/SayHello")
        .idempotent("/helloworld.Greeter/SayHelloStreamReply")
        .over(channel(&args)?);
    // An interceptor is around the layers: it signs a call, and all attempts carry what it wrote.
    let mut client = GreeterClient::with_interceptor(resilient, move |mut request: Request<()>| {
        if let Some(token) = &token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    });
    let request = || HelloRequest { name: args.name.clone() };
    let reply = client.say_hello(request()).await?;
    println!("{}", reply.into_inner().message);
    let mut replies = client.say_hello_stream_reply(request()).await?.into_inner();
    while let Some(reply) = replies.message().await? {
        println!("{}", reply.message);
    }
    Ok(())
}

fn channel(args: &Args) -> anyhow::Result<Channel> {
    let address = &args.address;
    let endpoint = Endpoint::from_shared(address.clone());
    let mut endpoint = endpoint.with_context(|| format!("{address}: no http://HOST:PORT"))?;
    let wants_tls = endpoint.uri().scheme_str() == Some("https");
    match &args.ca {
        Some(file) => {
            if !wants_tls {
                bail!("--ca: {address} is not https://");
            }
            let certificate = Certificate::from_pem(read("--ca", file)?);
            endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(certificate))?;
        }
        None if wants_tls => bail!("{address}: TLS needs --ca FILE"),
        None => {}
    }
    // The first call connects, and is tried again if it cannot.
    Ok(endpoint.connect_lazy())
}

fn token(file: &Path) -> anyhow::Result<MetadataValue<Ascii>> {
    let token = read("--token-file", file)?;
    let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
        .parse()
        .with_context(|| format!("--token-file: {} holds no token", file.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(flag: &str, file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("{flag}: {} cannot be read", file.display()))
}
