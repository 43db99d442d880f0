//! The section `[ur.callback]`: a mapping of another wire form of the callback (docs/callback-mapping.md).

use std::path::Path;

use tapgate_engine::fact::Channel;
use toml::de::DeValue;

use super::reader::{Fields, Reader};
use super::sections::ReadFile;
use super::setting::Setting;
use crate::wire::callback::{Field, KINDS, Mapping, Pointers, Template};
use crate::wire::ur::AmountForm;

/// The mapping, where one is configured. `require_v2`: signatures hold a timestamp of their own.
pub(super) fn callback(reader: &mut Reader<'_>, read_file: ReadFile<'_>, require_v2: bool) -> Option<Mapping> {
    let setting = reader.find("ur.callback")?;
    let keys = ["sample_file", "fields", "types", "channels", "amounts", "approved", "declined"];
    let section = reader.table(&setting, &keys)?;
    let sample = reader.required_field(&section, "sample_file", |setting| {
        let path = setting.text()?;
        read_file(Path::new(path)).map_err(|error| format!("cannot read {path:?}: {error}"))
    });
    let pointers = pointers(reader, &setting, &section, sample.as_deref(), require_v2);
    let words = [("smallest_unit", AmountForm::SmallestUnit), ("decimal", AmountForm::Decimal)];
    let amounts = reader.field(&section, "amounts", |setting| setting.word(&words));
    let approved = reader.required_field(&section, "approved", |setting| Template::parse(setting.text()?));
    let declined = reader.required_field(&section, "declined", |setting| Template::parse(setting.text()?));
    let types = table_of_words(reader, &section, "types", &KINDS);
    let channels = Channel::ALL.map(|channel| (channel.name(), channel));
    let channels = table_of_words(reader, &section, "channels", &channels);
    let amounts = amounts.unwrap_or(AmountForm::SmallestUnit);
    let mapping = Mapping { pointers: pointers?, types, channels, amounts, approved: approved?, declined: declined? };
    let sample = sample?;
    // The sample's age does not matter: its fields do.
    let read = mapping.read(sample.as_bytes(), 0).and_then(|envelope| envelope.request());
    reader
        .field(&section, "sample_file", |_| read.map_err(|error| format!("is no callback by this mapping: {error}")))?;
    Some(mapping)
}

fn pointers<'a>(
    reader: &mut Reader<'a>,
    setting: &Setting<'a>,
    section: &Fields<'a>,
    sample: Option<&str>,
    require_v2: bool,
) -> Option<Pointers> {
    let Some(fields) = reader.field_table(section, "fields", &Field::NAMED.map(|(name, _)| name)) else {
        reader.report(setting, "fields is missing: it needs a JSON Pointer for each field".to_owned());
        return None;
    };
    let mut pointers = Pointers::default();
    for (name, field) in Field::NAMED {
        reader.field(&fields, name, |setting| pointers.add(field, setting.text()?));
    }
    for field in Field::REQUIRED.into_iter().filter(|field| !fields.has(field.name())) {
        reader.report(setting, format!("fields.{} is missing: no callback is decided without it", field.name()));
    }
    if !fields.has(Field::Timestamp.name()) && !require_v2 {
        let why = "fields.timestamp is missing: without it, only require_v2 = true keeps old callbacks out";
        reader.report(setting, why.to_owned());
    }
    let missing = pointers.missing_in(sample?).unwrap_or_default();
    for field in &missing {
        reader.field::<()>(&fields, field.name(), |_| Err("points to nothing in the sample".to_owned()));
    }
    missing.is_empty().then_some(pointers)
}

/// UR's words for each of ours: a word or a list of words.
fn table_of_words<'a, T: Copy>(
    reader: &mut Reader<'a>,
    section: &Fields<'a>,
    key: &str,
    ours: &[(&str, T)],
) -> Vec<(String, T)> {
    let names: Vec<&str> = ours.iter().map(|(name, _)| *name).collect();
    let Some(table) = reader.field_table(section, key, &names) else { return Vec::new() };
    let mut known: Vec<(String, T)> = Vec::new();
    for (name, value) in ours {
        let given = reader.field(&table, name, words).unwrap_or_default();
        for word in given {
            if known.iter().any(|(other, _)| *other == word) {
                reader.field::<()>(&table, name, |_| Err(format!("{word:?} is given twice")));
            }
            known.push((word, *value));
        }
    }
    known
}

fn words(setting: &Setting<'_>) -> Result<Vec<String>, String> {
    if let Ok(word) = setting.text() {
        return Ok(vec![word.to_owned()]);
    }
    let list = setting.toml("a word or a list of words")?.as_array().ok_or_else(|| setting.not("a list of words"))?;
    let word = |item: &DeValue<'_>| item.as_str().map(str::to_owned).ok_or_else(|| setting.not("a list of words"));
    list.iter().map(|item| word(item.get_ref())).collect()
}
