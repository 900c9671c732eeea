//! A tiny interpreter for the pickles that `torch.save` writes for a state dict.
//!
//! It knows dictionaries, tuples, lists, scalars and tensors that point into storages. Functions can only be
//! *named*, and only names in [`Global::find`] are known; what they would do in Python is done here as plain data.
//! Values live in flat arenas and are copied as handles, so neither nesting, sharing nor cycles cost stack or
//! memory beyond the instructions present. Opcodes: CPython's `Lib/pickletools.py`.

use std::collections::HashMap;

/// Most instructions obeyed: a state dict needs about 30 per tensor.
const OP_LIMIT: usize = 500_000;
/// Most tensors: each takes some hundred bytes, and five bytes of instructions are enough to make one.
const TENSOR_LIMIT: usize = 50_000;
/// Longest name or string.
const STRING_LIMIT: usize = 4096;
/// Most dimensions of a tensor.
const RANK_LIMIT: usize = 16;

/// Why a checkpoint was not understood.
#[derive(Debug)]
pub enum Fault {
    /// The bytes contradict the format.
    Damaged(String),
    /// The pickle names a function or class other than those describing tensors.
    Asks(String),
    /// A sound file with something this reader does not handle.
    Unsupported(String),
    /// More than a checkpoint can sensibly hold.
    Limit(String),
}

impl Fault {
    /// A [`Fault::Damaged`].
    pub fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

/// Element type of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}

/// The functions and classes a checkpoint may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Element),
}

impl Global {
    fn find(module: &str, name: &str) -> Option<Self> {
        let element = |name: &str| {
            Some(match name {
                "DoubleStorage" => Element::F64,
                "FloatStorage" => Element::F32,
                "HalfStorage" => Element::F16,
                "BFloat16Storage" => Element::Bf16,
                "LongStorage" => Element::I64,
                "IntStorage" => Element::I32,
                "ShortStorage" => Element::I16,
                "CharStorage" => Element::I8,
                "ByteStorage" => Element::U8,
                "BoolStorage" => Element::Bool,
                _ => return None,
            })
        };
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch" | "torch.storage", name) => element(name).map(Self::Storage),
            _ => None,
        }
    }
}

/// A tensor as the pickle describes it: a strided view into a storage.
#[derive(Clone, Debug)]
pub struct TensorRef<'a> {
    /// Name of the storage: entry `data/<key>`.
    pub key: &'a str,
    /// Element type of the storage.
    pub element: Element,
    /// Elements the storage must hold.
    pub storage_len: usize,
    /// First element.
    pub offset: usize,
    /// Sizes, slowest first.
    pub shape: Vec<usize>,
    /// Steps in elements.
    pub stride: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct StorageRef<'a> {
    key: &'a str,
    element: Element,
    len: usize,
}

/// A handle; containers are indices into [`Machine`].
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// `None`, or an opaque argument (device, hooks) that is never looked at.
    None,
    Bool,
    Int(i64),
    Float,
    Str(&'a str),
    Tuple {
        start: usize,
        len: usize,
    },
    List(usize),
    Dict(usize),
    Tensor(usize),
    #[doc(hidden)]
    Storage(usize),
    #[doc(hidden)]
    Global(GlobalHandle),
}

/// Keeps [`Global`] private while [`Value`] is visible to the sibling module.
#[derive(Clone, Copy, Debug)]
pub struct GlobalHandle(Global);

/// The result of a pickle: the root value and what its handles point to.
pub struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    flat: Vec<Value<'a>>,
    lists: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    tensors: Vec<TensorRef<'a>>,
    storages: Vec<StorageRef<'a>>,
}

impl<'a> Machine<'a> {
    /// Interprets a pickle up to its STOP.
    pub fn run(bytes: &'a [u8]) -> Result<(Self, Value<'a>), Fault> {
        let mut machine = Self {
            rest: bytes,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            flat: Vec::new(),
            lists: Vec::new(),
            dicts: Vec::new(),
            tensors: Vec::new(),
            storages: Vec::new(),
        };
        for _ in 0..OP_LIMIT {
            if let Some(root) = machine.step()? {
                return Ok((machine, root));
            }
        }
        Err(Fault::Limit(format!("a pickle of more than {OP_LIMIT} instructions")))
    }

    /// Items of a dictionary, oldest first.
    pub fn dict(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match value {
            Value::Dict(i) => self.dicts.get(i).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The tensor behind a handle.
    pub fn tensor(&self, value: Value<'a>) -> Option<&TensorRef<'a>> {
        match value {
            Value::Tensor(i) => self.tensors.get(i),
            _ => None,
        }
    }

    fn tuple(&self, value: Value<'a>) -> Result<&[Value<'a>], Fault> {
        match value {
            Value::Tuple { start, len } => self.flat.get(start..start + len),
            _ => None,
        }
        .ok_or_else(|| Fault::damaged("a tuple was expected in the pickle"))
    }

    /// Obeys one instruction; gives the root at STOP.
    fn step(&mut self) -> Result<Option<Value<'a>>, Fault> {
        let [op] = self.take_array::<1>()?;
        match op {
            // Framing and the end.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            // Scalars.
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool),
            b'K' => {
                let [v] = self.take_array()?;
                self.push(Value::Int(v.into()));
            }
            b'M' => {
                let v = u16::from_le_bytes(self.take_array()?);
                self.push(Value::Int(v.into()));
            }
            b'J' => {
                let v = i32::from_le_bytes(self.take_array()?);
                self.push(Value::Int(v.into()));
            }
            0x8a => {
                let [len] = self.take_array()?;
                let v = long(self.take(len.into())?)?;
                self.push(Value::Int(v));
            }
            b'G' => {
                self.take(8)?;
                self.push(Value::Float);
            }
            b'X' | b'T' => {
                let len = u32::from_le_bytes(self.take_array()?);
                self.string(len.into())?;
            }
            0x8c | b'U' => {
                let [len] = self.take_array()?;
                self.string(len.into())?;
            }
            0x8d => {
                let len = u64::from_le_bytes(self.take_array()?);
                self.string(len)?;
            }
            // Containers.
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push(Value::Tuple { start: 0, len: 0 }),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_tuple(&items);
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(op - 0x84))?;
                self.push_tuple(&items);
            }
            b']' => self.push_list(Vec::new()),
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push_list(items);
            }
            b'a' => {
                let item = self.pop_many(1)?;
                self.extend_list(item)?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.extend_list(items)?;
            }
            b'}' => self.push_dict(),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push_dict();
                self.extend_dict(&items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.extend_dict(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.extend_dict(&items)?;
            }
            // Memory.
            b'q' => {
                let [key] = self.take_array()?;
                self.memoise(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.take_array()?);
                self.memoise(key)?;
            }
            0x94 => {
                let key = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                self.memoise(key)?;
            }
            b'h' => {
                let [key] = self.take_array()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.take_array()?);
                self.recall(key)?;
            }
            // Names and what stands for calls.
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.push_global(module, name)?;
            }
            0x93 => {
                let [Value::Str(module), Value::Str(name)] = self.pop_array()? else {
                    return Err(Fault::damaged("a function is named by something other than text"));
                };
                self.push_global(module, name)?;
            }
            b'R' => {
                let [function, arguments] = self.pop_array()?;
                self.reduce(function, arguments)?;
            }
            // `_metadata` of a state dict: version numbers of modules, which change nothing here.
            b'b' => {
                let _state = self.pop()?;
                if !matches!(self.stack.last(), Some(Value::Dict(_))) {
                    return Err(Fault::Asks("restore the state of an object".to_owned()));
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push_storage(id)?;
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                return Err(Fault::Asks(format!("{module}.{name}")));
            }
            0x81 | 0x92 | b'o' => {
                return Err(Fault::Asks("create an object of a Python class".to_owned()));
            }
            other => return Err(Fault::Unsupported(format!("pickle instruction 0x{other:02x}"))),
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (head, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| Fault::damaged("the pickle is cut short"))?;
        self.rest = rest;
        Ok(head)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| Fault::damaged("the pickle is cut short"))?;
        self.rest = rest;
        Ok(*head)
    }

    fn text(bytes: &'a [u8]) -> Result<&'a str, Fault> {
        if bytes.len() > STRING_LIMIT {
            return Err(Fault::Limit(format!("a text of {} bytes", bytes.len())));
        }
        std::str::from_utf8(bytes).map_err(|_| Fault::damaged("a text that is not UTF-8"))
    }

    fn string(&mut self, len: u64) -> Result<(), Fault> {
        let len = usize::try_from(len).map_err(|_| Fault::damaged("the pickle is cut short"))?;
        let text = Self::text(self.take(len)?)?;
        self.push(Value::Str(text));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let end = self.rest.iter().position(|&b| b == b'\n');
        let end = end.ok_or_else(|| Fault::damaged("the pickle is cut short"))?;
        let line = Self::text(self.take(end)?)?;
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(value);
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value<'a>>, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let at = self.stack.len().checked_sub(count).filter(|&at| at >= floor);
        Ok(self.stack.split_off(at.ok_or_else(|| Fault::damaged("the pickle takes more than it put"))?))
    }

    fn pop_array<const N: usize>(&mut self) -> Result<[Value<'a>; N], Fault> {
        let items = self.pop_many(N)?;
        items.try_into().map_err(|_| Fault::damaged("the pickle takes more than it put"))
    }

    fn pop(&mut self) -> Result<Value<'a>, Fault> {
        self.pop_array().map(|[v]| v)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| Fault::damaged("a mark is missing in the pickle"))?;
        Ok(self.stack.split_off(mark))
    }

    fn push_tuple(&mut self, items: &[Value<'a>]) {
        let start = self.flat.len();
        self.flat.extend_from_slice(items);
        self.push(Value::Tuple { start, len: items.len() });
    }

    fn push_list(&mut self, items: Vec<Value<'a>>) {
        self.lists.push(items);
        self.push(Value::List(self.lists.len() - 1));
    }

    fn push_dict(&mut self) {
        self.dicts.push(Vec::new());
        self.push(Value::Dict(self.dicts.len() - 1));
    }

    fn extend_list(&mut self, items: Vec<Value<'a>>) -> Result<(), Fault> {
        let Some(&Value::List(i)) = self.stack.last() else {
            return Err(Fault::damaged("items are added to something that is not a list"));
        };
        self.lists[i].extend(items);
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Value<'a>]) -> Result<(), Fault> {
        let Some(&Value::Dict(i)) = self.stack.last() else {
            return Err(Fault::damaged("items are added to something that is not a dictionary"));
        };
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(Fault::damaged("a key without a value"));
        };
        self.dicts[i].extend(pairs.iter().map(|&[k, v]| (k, v)));
        Ok(())
    }

    fn memoise(&mut self, key: u32) -> Result<(), Fault> {
        let top = *self.stack.last().ok_or_else(|| Fault::damaged("nothing to remember in the pickle"))?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Fault> {
        let value = self.memo.get(&key).copied();
        self.push(value.ok_or_else(|| Fault::damaged("the pickle recalls what it never stored"))?);
        Ok(())
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        let global = Global::find(module, name).ok_or_else(|| Fault::Asks(format!("{module}.{name}")))?;
        self.push(Value::Global(GlobalHandle(global)));
        Ok(())
    }

    fn reduce(&mut self, function: Value<'a>, arguments: Value<'a>) -> Result<(), Fault> {
        let Value::Global(GlobalHandle(global)) = function else {
            return Err(Fault::damaged("the pickle calls something that is not a function"));
        };
        match global {
            Global::OrderedDict => match self.tuple(arguments)? {
                [] => {
                    self.push_dict();
                    Ok(())
                }
                _ => Err(Fault::Unsupported("an OrderedDict that is not filled item by item".to_owned())),
            },
            Global::RebuildTensor => {
                let &[Value::Storage(storage), Value::Int(offset), shape, stride, ..] =
                    self.tuple(arguments)?
                else {
                    return Err(Fault::damaged("a tensor of unknown form"));
                };
                let StorageRef { key, element, len } = self.storages[storage];
                let tensor = TensorRef {
                    key,
                    element,
                    storage_len: len,
                    offset: count(offset)?,
                    shape: self.counts(shape)?,
                    stride: self.counts(stride)?,
                };
                if tensor.shape.len() != tensor.stride.len() {
                    return Err(Fault::damaged("a tensor with unequal numbers of sizes and strides"));
                }
                if self.tensors.len() >= TENSOR_LIMIT {
                    return Err(Fault::Limit(format!("more than {TENSOR_LIMIT} tensors")));
                }
                self.tensors.push(tensor);
                self.push(Value::Tensor(self.tensors.len() - 1));
                Ok(())
            }
            Global::RebuildParameter => match *self.tuple(arguments)? {
                [tensor @ Value::Tensor(_), ..] => {
                    self.push(tensor);
                    Ok(())
                }
                _ => Err(Fault::damaged("a parameter without a tensor")),
            },
            Global::Storage(_) => Err(Fault::damaged("a storage used as a function")),
        }
    }

    /// `("storage", <class>, key, device, number of elements)`.
    fn push_storage(&mut self, id: Value<'a>) -> Result<(), Fault> {
        let &[
            Value::Str("storage"),
            Value::Global(GlobalHandle(Global::Storage(element))),
            Value::Str(key),
            _,
            Value::Int(len),
        ] = self.tuple(id)?
        else {
            return Err(Fault::damaged("a storage of unknown form"));
        };
        self.storages.push(StorageRef { key, element, len: count(len)? });
        self.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    fn counts(&self, value: Value<'a>) -> Result<Vec<usize>, Fault> {
        let items = self.tuple(value)?;
        if items.len() > RANK_LIMIT {
            return Err(Fault::Limit(format!("a tensor of {} dimensions", items.len())));
        }
        items
            .iter()
            .map(|v| match v {
                Value::Int(n) => count(*n),
                _ => Err(Fault::damaged("a size that is not a whole number")),
            })
            .collect()
    }
}

fn count(n: i64) -> Result<usize, Fault> {
    usize::try_from(n).map_err(|_| Fault::damaged(format!("a size of {n}")))
}

/// Little-endian two's complement of up to eight bytes.
fn long(bytes: &[u8]) -> Result<i64, Fault> {
    if bytes.len() > 8 {
        return Err(Fault::Limit(format!("a whole number of {} bytes", bytes.len())));
    }
    let is_negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = [if is_negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Ok(i64::from_le_bytes(wide))
}
