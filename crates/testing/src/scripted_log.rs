use adulis_types::{ErrorKind, Failure, Fault, LogControl, LogLineFormat, LogSettings, LogUpdate};
use parking_lot::Mutex;

/// A log that keeps its settings and writes nothing. Changing `verbose_level` to 13 fails, and changes nothing.
#[derive(Debug)]
pub struct ScriptedLog(Mutex<LogSettings>);

impl Default for ScriptedLog {
    fn default() -> Self {
        Self(Mutex::new(LogSettings {
            file: "".into(),
            info: true,
            warning: true,
            error: true,
            verbose_level: 0,
            format: LogLineFormat::Default,
        }))
    }
}

impl LogControl for ScriptedLog {
    fn log_settings(&self) -> LogSettings {
        self.0.lock().clone()
    }

    fn update_log_settings(&self, update: &LogUpdate) -> Result<LogSettings, Fault> {
        if update.verbose_level == Some(13) {
            return Err(Failure::new(ErrorKind::Internal, "the log cannot be changed").into());
        }
        let mut settings = self.0.lock();
        let LogUpdate { info, warning, error, verbose_level, format } = *update;
        settings.info = info.unwrap_or(settings.info);
        settings.warning = warning.unwrap_or(settings.warning);
        settings.error = error.unwrap_or(settings.error);
        settings.verbose_level = verbose_level.unwrap_or(settings.verbose_level);
        settings.format = format.unwrap_or(settings.format);
        Ok(settings.clone())
    }
}
