//! What the weights of a family are called and how they lie, told once: models, weight lists, GGUF files and adapters all read it here.

/// A part of a model with weights: `NAME.weight` and, where it has one, `NAME.bias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its name in transformers; of a part of a layer what follows the layer's number.
    pub name: &'static str,
    /// Its name in llama.cpp's files; of a part of a layer what follows `blk.N.`.
    pub gguf: &'static str,
}

impl Module {
    pub(crate) const fn new(name: &'static str, gguf: &'static str) -> Self {
        Self { name, gguf }
    }

    /// The module's matrix or vector.
    pub(crate) fn weight(self) -> String {
        format!("{}.weight", self.name)
    }
}

/// How the weight of a linear layer lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[out, in]`, as most models store it.
    OutIn,
    /// `[in, out]`, as GPT-2 stores it.
    InOut,
}

/// The prefix that files have or lack before the names of a model's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// The names here have it; files of the body alone lack it.
    Carried(&'static str),
    /// The names here lack it; files of a model with a head have it.
    Added(&'static str),
}

/// The names of a family.
#[derive(Debug, Clone, Copy)]
// Which parts there are is asked by files under other names alone.
#[cfg_attr(not(feature = "gguf"), allow(dead_code))]
pub(crate) struct Names {
    /// What stands before a layer's number in transformers.
    pub layers: &'static str,
    /// The linear layers of each layer, in the order of the forward pass: what adapters can change.
    pub linears: &'static [Module],
    /// The normalisations of each layer.
    pub norms: &'static [Module],
    /// What stands outside of the layers.
    pub outside: &'static [Module],
    /// The linear layers that an adapter changes unless others are named.
    pub default_targets: &'static [Module],
    /// How linear layers lie.
    pub layout: WeightLayout,
    /// What files may have or lack before these names.
    pub prefix: Prefix,
}

impl Names {
    /// The full name of a part of a layer.
    pub(crate) fn path(&self, layer: usize, module: Module) -> String {
        format!("{}.{layer}.{}", self.layers, module.name)
    }

    /// The last components of [`Names::default_targets`], as PEFT's `target_modules` spells them.
    pub(crate) fn target_names(&self) -> Vec<String> {
        self.default_targets.iter().map(|m| m.name.rsplit('.').next().unwrap_or(m.name).to_string()).collect()
    }

    /// The parts of a layer.
    #[cfg(feature = "gguf")]
    pub(crate) fn of_layer(&self) -> impl Iterator<Item = Module> + '_ {
        self.linears.iter().chain(self.norms).copied()
    }
}

/// A linear layer and its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinearShape {
    pub module: Module,
    /// Columns that go in.
    pub input: usize,
    /// Columns that come out.
    pub output: usize,
    pub bias: bool,
}

impl LinearShape {
    pub(crate) fn new(module: Module, input: usize, output: usize, bias: bool) -> Self {
        Self { module, input, output, bias }
    }

    /// The sizes of its weight.
    pub(crate) fn weight(&self, layout: WeightLayout) -> [usize; 2] {
        match layout {
            WeightLayout::OutIn => [self.output, self.input],
            WeightLayout::InOut => [self.input, self.output],
        }
    }
}

/// Every weight of a model with its shape.
#[derive(Debug, Default)]
pub(super) struct Shapes(pub Vec<(String, Vec<usize>)>);

impl Shapes {
    /// A matrix outside of the layers.
    pub(super) fn table(&mut self, module: Module, shape: [usize; 2]) {
        self.0.push((module.weight(), shape.to_vec()));
    }

    /// A normalisation of this width.
    pub(super) fn norm(&mut self, path: &str, width: usize, bias: bool) {
        self.0.push((format!("{path}.weight"), vec![width]));
        if bias {
            self.0.push((format!("{path}.bias"), vec![width]));
        }
    }

    /// The linear layers and normalisations of a layer.
    pub(super) fn layer(&mut self, names: &Names, layer: usize, linears: &[LinearShape], width: usize, bias: bool) {
        for linear in linears {
            let path = names.path(layer, linear.module);
            self.0.push((format!("{path}.weight"), linear.weight(names.layout).to_vec()));
            if linear.bias {
                self.0.push((format!("{path}.bias"), vec![linear.output]));
            }
        }
        for norm in names.norms {
            self.norm(&names.path(layer, *norm), width, bias);
        }
    }
}
