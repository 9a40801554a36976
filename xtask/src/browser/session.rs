use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::install::Browser;
use super::marionette::Marionette;
use super::webdriver::WebDriver;
use crate::steps::target;

/// A browser that is driven. Dropped, it ends.
pub(super) struct Session {
    // Ends before its folder is deleted.
    driver: Option<Driver>,
    profile: PathBuf,
}

enum Driver {
    Chromium(WebDriver),
    Firefox(Marionette),
}

impl Session {
    pub(super) fn start(browser: Browser) -> anyhow::Result<Self> {
        let profile = target().join(format!("browser-profile-{}-{browser}", std::process::id()));
        std::fs::create_dir_all(&profile)?;
        let mut session = Self { driver: None, profile };
        let profile = &session.profile;
        let driver = match browser {
            Browser::Chromium => Driver::Chromium(WebDriver::start(profile)?),
            Browser::Firefox => Driver::Firefox(Marionette::start(profile)?),
        };
        session.driver = Some(driver);
        Ok(session)
    }

    pub(super) fn open(&mut self, url: &str) -> anyhow::Result<()> {
        let url = json!({ "url": url });
        match self.driver()? {
            Driver::Chromium(driver) => driver.post("url", &url),
            Driver::Firefox(driver) => driver.ask("WebDriver:Navigate", &url),
        }
        .map(drop)
    }

    /// The tab that it is at.
    pub(super) fn tab(&mut self) -> anyhow::Result<String> {
        let answer = match self.driver()? {
            Driver::Chromium(driver) => driver.get("window"),
            Driver::Firefox(driver) => {
                let mut answer = driver.ask("WebDriver:GetWindowHandle", &json!({}))?;
                Ok(answer["value"].take())
            }
        }?;
        Ok(answer.as_str().context("the tab has no name")?.to_owned())
    }

    /// Opens another tab, and gives its name. It stays at the one where it is.
    pub(super) fn new_tab(&mut self) -> anyhow::Result<String> {
        let kind = json!({ "type": "tab" });
        let answer = match self.driver()? {
            Driver::Chromium(driver) => driver.post("window/new", &kind),
            Driver::Firefox(driver) => driver.ask("WebDriver:NewWindow", &kind),
        }?;
        Ok(answer["handle"].as_str().context("the tab has no name")?.to_owned())
    }

    /// Goes to a tab.
    pub(super) fn switch_to(&mut self, tab: &str) -> anyhow::Result<()> {
        let tab = json!({ "handle": tab });
        match self.driver()? {
            Driver::Chromium(driver) => driver.post("window", &tab),
            Driver::Firefox(driver) => driver.ask("WebDriver:SwitchToWindow", &tab),
        }
        .map(drop)
    }

    /// The text of the element with this id.
    pub(super) fn text(&mut self, id: &str) -> anyhow::Result<String> {
        let script = "return document.getElementById(arguments[0])?.textContent ?? ''";
        let answer = self.execute(script, &[id])?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// The text of the element with this id, once it is like this.
    pub(super) fn wait_for_text(
        &mut self,
        id: &str,
        patience: Duration,
        is_it: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            let text = self.text(id)?;
            if is_it(&text) {
                return Ok(text);
            }
            ensure!(
                started.elapsed() < patience,
                "the page says {text:?} as its {id} after {patience:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the field with this id holds, once it is like this.
    pub(super) fn wait_for_value(
        &mut self,
        id: &str,
        patience: Duration,
        is_it: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            let answer =
                self.execute("return document.getElementById(arguments[0]).value", &[id])?;
            let value = answer.as_str().unwrap_or_default().to_owned();
            if is_it(&value) {
                return Ok(value);
            }
            ensure!(started.elapsed() < patience, "{id} holds {value:?} after {patience:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where the element with this id is in the window: left, top, width, height.
    pub(super) fn place(&mut self, id: &str) -> anyhow::Result<[f64; 4]> {
        let script = "const { left, top, width, height } = \
                      document.getElementById(arguments[0]).getBoundingClientRect(); \
                      return [left, top, width, height]";
        let answer = self.execute(script, &[id])?;
        serde_json::from_value(answer).context("an element's place")
    }

    /// Moves pointers and presses keys, as a person does: "Actions" in WebDriver (W3C).
    pub(super) fn perform(&mut self, actions: &Value) -> anyhow::Result<()> {
        match self.driver()? {
            Driver::Chromium(driver) => driver.post("actions", actions),
            Driver::Firefox(driver) => driver.ask("WebDriver:PerformActions", actions),
        }
        .map(drop)
    }

    /// Clicks the element with this id.
    pub(super) fn click(&mut self, id: &str) -> anyhow::Result<()> {
        self.execute("document.getElementById(arguments[0]).click()", &[id]).map(drop)
    }

    /// Writes into the element with this id, as a person does.
    pub(super) fn write(&mut self, id: &str, text: &str) -> anyhow::Result<()> {
        let script = "const it = document.getElementById(arguments[0]); it.value = arguments[1]; \
                      it.dispatchEvent(new InputEvent('input'))";
        self.execute(script, &[id, text]).map(drop)
    }

    /// A picture of the page: PNG, in Base64.
    pub(super) fn screenshot(&mut self) -> anyhow::Result<String> {
        let answer = match self.driver()? {
            Driver::Chromium(driver) => driver.get("screenshot"),
            Driver::Firefox(driver) => {
                let mut answer =
                    driver.ask("WebDriver:TakeScreenshot", &json!({ "full": false }))?;
                Ok(answer["value"].take())
            }
        }?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Runs this in every page from now on, before what is in the page. Chromium only. Gives a name
    /// for [`Session::no_longer`].
    pub(super) fn before_pages(&mut self, script: &str) -> anyhow::Result<String> {
        let parameters = json!({ "source": script });
        let answer = self.developer("Page.addScriptToEvaluateOnNewDocument", &parameters)?;
        Ok(answer["identifier"].as_str().context("the script got no name")?.to_owned())
    }

    /// Runs that no more.
    pub(super) fn no_longer(&mut self, script: &str) -> anyhow::Result<()> {
        let parameters = json!({ "identifier": script });
        self.developer("Page.removeScriptToEvaluateOnNewDocument", &parameters).map(drop)
    }

    /// A command of Chromium's DevTools.
    fn developer(&mut self, command: &str, parameters: &Value) -> anyhow::Result<Value> {
        let Driver::Chromium(driver) = self.driver()? else { bail!("Firefox has no {command}") };
        driver.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Sets one of Firefox's preferences for pages that are opened from now on.
    pub(super) fn prefer(
        &mut self,
        preference: &str,
        value: impl Into<Value>,
    ) -> anyhow::Result<()> {
        let Driver::Firefox(driver) = self.driver()? else { bail!("Chromium has no {preference}") };
        driver.ask("Marionette:SetContext", &json!({ "value": "chrome" }))?;
        let script = "const set = typeof arguments[1] === 'boolean' ? 'setBoolPref' : 'setIntPref'; \
                      Services.prefs[set](arguments[0], arguments[1])";
        let value: Value = value.into();
        let script = json!({ "script": script, "args": [preference, value] });
        let set = driver.ask("WebDriver:ExecuteScript", &script);
        driver.ask("Marionette:SetContext", &json!({ "value": "content" }))?;
        set.map(drop)
    }

    /// Runs a script in the page.
    pub(super) fn execute(&mut self, script: &str, arguments: &[&str]) -> anyhow::Result<Value> {
        let script = json!({ "script": script, "args": arguments });
        match self.driver()? {
            Driver::Chromium(driver) => driver.post("execute/sync", &script),
            Driver::Firefox(driver) => {
                let mut answer = driver.ask("WebDriver:ExecuteScript", &script)?;
                Ok(answer["value"].take())
            }
        }
    }

    fn driver(&mut self) -> anyhow::Result<&mut Driver> {
        self.driver.as_mut().context("the browser has ended")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver = None;
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
