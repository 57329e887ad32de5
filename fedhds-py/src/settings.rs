//! The core's settings as classes: what is not given has the core's default, and the core's `check` says what is wrong.

use crate::error::{OrRaise as _, raised};
use crate::setting::{Setting as _, field};
use fedhds_core::dataset::{conditions, embedded};
use fedhds_core::parse::unknown_name;
use fedhds_core::{Error, features, settings, simulate, types};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<AdapterConfig>()?;
    module.add_class::<TrainConfig>()?;
    module.add_class::<GenerateConfig>()?;
    module.add_class::<FeatureParams>()?;
    module.add_class::<SimulationSettings>()?;
    module.add_class::<EmbeddedTasks>()?;
    module.add_class::<TextFeaturesConfig>()?;
    module.add_class::<NearCopiesConfig>()?;
    module.add_class::<Condition>()
}

/// A class over a structure of the core's, with the names of its fields.
macro_rules! settings {
    ($(#[$doc:meta])* $name:ident($core:ty) { $($field:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[pyclass(module = "fedhds._native", frozen, from_py_object)]
        #[derive(Clone)]
        pub struct $name {
            pub inner: $core,
        }

        #[pymethods]
        impl $name {
            #[new]
            #[pyo3(signature = (**settings))]
            fn new(settings: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
                let mut inner = <$core>::default();
                for (key, value) in settings.into_iter().flatten() {
                    let key: String = key.extract()?;
                    match key.as_str() {
                        $(stringify!($field) => {
                            field(&mut inner, |own| &mut own.$field, &key, &value, <$core>::check).or_raise()?;
                        })+
                        _ => return Err(unknown(&key, &[$(stringify!($field)),+])),
                    }
                }
                inner.check().or_raise()?;
                Ok(Self { inner })
            }

            $(
                #[getter]
                fn $field<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                    self.inner.$field.show(py)
                }
            )+

            /// The settings by name.
            fn as_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                let values = PyDict::new(py);
                $(values.set_item(stringify!($field), self.inner.$field.show(py)?)?;)+
                Ok(values)
            }

            /// What pickle and `copy` make it anew of.
            fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
                Ok((PyTuple::empty(py), self.as_dict(py)?))
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                let shown = [$(format!("{}={}", stringify!($field), self.inner.$field.show(py)?.repr()?)),+];
                Ok(format!("{}({})", stringify!($name), shown.join(", ")))
            }
        }
    };
}

fn unknown(key: &str, known: &[&str]) -> PyErr {
    raised(&Error::config(key, unknown_name(key, known)))
}

settings! {
    /// A LoRA adapter's settings, named as in PEFT.
    AdapterConfig(types::AdapterConfig) { r, lora_alpha, lora_dropout, target_modules, use_rslora }
}

settings! {
    /// How an adapter is trained.
    TrainConfig(settings::TrainConfig) {
        learning_rate, batch_size, local_epochs, max_steps, gradient_accumulation_steps, max_grad_norm,
        gradient_checkpointing, max_tokens,
    }
}

settings! {
    /// How text is generated.
    GenerateConfig(settings::GenerateConfig) { max_new_tokens, batch_size }
}

settings! {
    /// Which hidden states make up a record's features.
    FeatureParams(features::FeatureParams) {
        layers, embedding, pooling, normalize, max_tokens, truncate, batch_tokens,
    }
}

settings! {
    /// Rounds, participation and evaluation of a simulation, and ranks of its clients.
    SimulationSettings(simulate::SimulationSettings) { rounds, participation, evaluate, ranks }
}

settings! {
    /// Which instruction tasks are generated.
    EmbeddedTasks(embedded::EmbeddedTasks) {
        seed, tasks, records_per_task, allow_fewer, test_records_per_task, test_tasks,
    }
}

settings! {
    /// How texts become features.
    TextFeaturesConfig(features::TextFeaturesConfig) { dims, seed }
}

settings! {
    /// What still counts as a near copy.
    NearCopiesConfig(features::NearCopiesConfig) { extra_words, template_words }
}

settings! {
    /// What is done to clean data.
    Condition(conditions::Condition) {
        duplicates, tail, swap_across, swap_within, junk, junk_generators, bad_clients, scarce, length,
    }
}
