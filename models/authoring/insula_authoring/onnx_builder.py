"""Growing an ONNX graph node by node. Values are named after their place; parameters keep the checkpoint's names and layouts,
and what an operator wants otherwise is made of them by nodes that ONNX Runtime folds when it loads the model."""

from __future__ import annotations

from typing import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

OPSET, IR = 20, 9


class Builder:
    """`halved` tells which parameters are stored as float16 under <name>.f16, with a Cast that gives <name>."""

    def __init__(self, state: dict[str, Tensor], halved: Callable[[str], bool] = lambda path: False):
        self.state, self.halved = state, halved
        self.nodes: list = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.prepared: dict[tuple, str] = {}
        self.used: set[str] = set()
        self.scope = ""

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes) -> str | list[str]:
        names = [f"{self.scope}/{op}_{len(self.nodes)}" + (f":{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{len(self.nodes)}", **attributes))
        return names if outputs > 1 else names[0]

    def named(self, name: str, op: str, *inputs: str, **attributes) -> str:
        """A node whose value has a name of its own: an output of the graph."""
        self.node(op, *inputs, **attributes)
        self.nodes[-1].output[0] = name
        return name

    def constant(self, name: str, values: np.ndarray) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(values, name)
        return name

    def ints(self, *values: int) -> str:
        return self.constant(f"int[{','.join(map(str, values))}]", np.array(values, np.int64))

    def real(self, value: float) -> str:
        return self.constant(f"real[{value}]", np.array(value, np.float32))

    def parameter(self, path: str) -> str:
        if path not in self.used:
            self.used.add(path)
            values = self.state[path].numpy().astype(np.float32)
            if self.halved(path):
                stored = self.constant(f"{path}.f16", values.astype(np.float16))
                self.nodes.append(helper.make_node("Cast", [stored], [path], name=f"Cast_{len(self.nodes)}",
                                                   to=TensorProto.FLOAT))
            else:
                self.constant(path, values)
        return path

    def turned(self, path: str, op: str, *inputs: str, **attributes) -> str:
        """A parameter, or what this made of one, in the layout an operator wants; made once."""
        key = (path, op, *inputs)
        if key not in self.prepared:
            self.prepared[key] = self.node(op, path if path in self.prepared.values() else self.parameter(path),
                                           *inputs, **attributes)
        return self.prepared[key]

    def model(self, name: str, inputs: list, outputs: list) -> onnx.ModelProto:
        """The finished model, checked. Ports are helper.make_tensor_value_info."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, list(self.initializers.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR,
                                  producer_name="insula")
        if model.ByteSize() < 2**31:  # what the checker can take
            onnx.checker.check_model(model)
        return model
