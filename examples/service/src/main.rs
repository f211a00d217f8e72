//! The service of the example: `DATABASE_URL` names the warehouse, `LISTEN` where it listens. Knows no question.

use std::error::Error;

use sea_orm::Database;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("DATABASE_URL").map_err(|_| "DATABASE_URL does not name the warehouse")?;
    let listen = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let warehouse = Database::connect(&url).await?;
    let listener = TcpListener::bind(&listen).await?;
    println!("serving http://{}/revenue", listener.local_addr()?);
    axum::serve(listener, medallion_example_service::service(warehouse)).await?;
    Ok(())
}
