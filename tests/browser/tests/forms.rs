//! A scheduler's form in a browser: filled in and sent without a script, wrong values beside their fields, readable in every view.

use anyhow::{Result, ensure};
use capstan_browser::{Browser, View, browse};
use capstan_tests::Farm;

const CONFIGURATION: &str = r#"
worker("w1")
package = builder("package", steps = [step.shell(name = "run", command = ["true"])])

def compilers(form):
    if form.values["platform"] == "mac":
        return ["clang"]
    return ["gcc", "clang"]

schedule.force(
    name = "release",
    label = "Release",
    builders = [package],
    fields = [
        {"name": "version", "regex": "v[0-9]+", "required": True, "label": "Which version", "help": "As the tag has it."},
        {"name": "jobs", "type": "int", "label": "Jobs", "min": 1, "max": 8, "default": 4},
        {"name": "clean", "type": "bool", "label": "From scratch"},
        {"name": "platform", "type": "choice", "label": "Platform", "choices": ["linux", "mac"], "default": "linux"},
        {"name": "compiler", "type": "choice", "label": "Compiler", "choices": compilers},
        {"type": "codebase", "name": "app", "label": "Application", "source": {"branch": "main"}, "ask": ["branch", "revision"]},
        {"name": "publish", "type": "group", "label": "Publish", "fields": [
            {"name": "mirrors", "type": "choice", "multiple": True, "label": "Mirrors", "choices": ["north", "south"]},
            {"name": "notes", "type": "text", "label": "Notes"},
        ]},
    ],
)
"#;

fn prepare(farm: &mut Farm) -> Result<()> {
    farm.write("ci.star", CONFIGURATION)?;
    farm.start_master()?;
    farm.add_worker("w1")
}

/// Sends the form of the page, with its values as they are: the server has to judge them.
fn submit(browser: &Browser) -> Result<()> {
    browser.evaluate("document.querySelector('main form').noValidate = true", &[])?;
    browser.click("main form button.primary")
}

#[test]
fn a_form_is_filled_in_and_what_is_wrong_stands_beside_its_field() {
    browse(prepare, |farm, (), browser| {
        // The answer to a bad form is an error, and browsers log that.
        browser.forgive("the server responded with a status of 4");
        browser.sign_in(&farm.read("data/token")?)?;
        browser.open("/builders/package")?;
        browser.click("#forms a")?;
        browser.expect_page("form")?;
        let unlabelled = "return [...document.querySelectorAll('main form :is(input:not([type=hidden]), select, textarea)')]
            .filter((field) => field.labels.length === 0).length";
        let unlabelled = browser.evaluate(unlabelled, &[])?;
        ensure!(
            unlabelled == 0,
            "expected a label for each field, {unlabelled} have none"
        );
        browser.fill("[name='v.version']", "1")?;
        browser.fill("[name='v.publish.notes']", "for everybody")?;
        submit(browser)?;
        browser.expect(".error[data-field='v.version']")?;
        let kept = browser.evaluate(
            "return document.querySelector('[name=\"v.publish.notes\"]').value",
            &[],
        )?;
        ensure!(kept == "for everybody", "expected the text to stay, found {kept}");
        browser.evaluate(
            "document.querySelector('[name=\"v.platform\"]').value = 'mac'",
            &[],
        )?;
        browser.click("main form button[name='again']")?;
        browser.expect_none("[name='v.compiler'] option[value='gcc']")?;
        browser.fill("[name='v.version']", "v1")?;
        submit(browser)?;
        let build = farm.finished("package", 1)?;
        ensure!(build["outcome"] == "success", "{build:#}");
        browser.expect_page("request")
    });
}

#[test]
fn a_form_fits_the_screen_in_every_view() {
    browse(prepare, |farm, (), browser| {
        browser.sign_in(&farm.read("data/token")?)?;
        for (name, view) in [
            ("light", View::DESKTOP),
            ("dark", View::DESKTOP.dark()),
            ("phone", View::PHONE),
        ] {
            browser.look_with(view)?;
            browser.open("/schedulers/release/force")?;
            let wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
            let wide = browser.evaluate(wide, &[])?;
            ensure!(wide == false, "expected a page without a bar below in {name}");
            if let Some(folder) = std::env::var_os("CAPSTAN_PICTURES") {
                browser.screenshot(&std::path::Path::new(&folder).join(format!("form-{name}.png")))?;
            }
        }
        Ok(())
    });
}
