//! A program that hands records over itself: lines from standard input become one file under a rule of lines, and what came out is
//! printed.
//!
//! ```sh
//! seq 3 | cargo run --example ingest -- landfall.toml RULE in/today.txt
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use landfall::{Input, Landfall, LandfallError, Registry};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ingest: {error}");
            if let Some(hint) = error.downcast_ref::<LandfallError>().and_then(LandfallError::hint) {
                eprintln!("  hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(config), Some(rule), Some(path)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("give a configuration, a rule, and the path of the file that the records become".into());
    };
    // Steps of your own are registered here, as in `own_step.rs`.
    let landfall = Landfall::open(Some(Path::new(&config)), Registry::with_builtin_steps())?;
    let records: Vec<String> = io::stdin().lines().collect::<Result<_, _>>()?;
    let ingestion = landfall.ingest(Input::records(path, records), &rule)?;
    let job = ingestion.wait()?;
    eprintln!("job {} is {}", job.id, job.state()); // where it did not end well, asking for its outputs says so
    let mut out = io::stdout().lock();
    for output in ingestion.outputs()? {
        for record in output.records() {
            out.write_all(&record.map_err(LandfallError::from)?)?;
            out.write_all(b"\n")?;
        }
    }
    for failed in ingestion.failed_records() {
        let failed = failed?;
        eprintln!("record {}: {}: {}", failed.record, failed.step, failed.error);
    }
    Ok(landfall.close()?)
}
