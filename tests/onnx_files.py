"""ONNX files of the form that `cleanplate export` writes, and monocular ones, made with nothing of cleanplate's."""

from collections.abc import Sequence

from onnx import NodeProto, TensorProto, helper

AXES = ("batch", "height", "width")


def make_onnx(
    card: str | None,
    *,
    inputs: Sequence[str] = ("plate", "frame"),
    output: str = "mask",
    channel: TensorProto | None = None,
    rest: Sequence[NodeProto] = (),
) -> bytes:
    """Return a network that answers with a channel of the frame, 0 to 255.

    Args:
        card: the metadata property `cleanplate`; none when None.
        inputs: names of its inputs; the last is the frame.
        output: name of its output.
        channel: which, an integer.
        rest: what makes the output of `chosen`, uint8; a cast alone when empty.
    """
    graph = helper.make_graph(
        [
            helper.make_node("Gather", [inputs[-1], "channel"], ["chosen"], axis=3),
            *(rest or [helper.make_node("Cast", ["chosen"], [output], to=TensorProto.FLOAT)]),
        ],
        "network",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, [*AXES, 3]) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, AXES)],
        [channel or integer(0)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {} if card is None else {"cleanplate": card})
    return model.SerializeToString()


def make_monocular(sides: tuple[object, object] = ("h", "w")) -> bytes:
    """Return a monocular network whose depth is the mean of the channels that it is given."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["picture"], ["answer"], axes=[1], keepdims=0)],
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, *sides])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def integer(value: int) -> TensorProto:
    """Return the channel to take."""
    return helper.make_tensor("channel", TensorProto.INT64, [], [value])


def integer_elsewhere(location: str) -> TensorProto:
    """Return a channel that says that it lies in another file."""
    tensor = TensorProto(name="channel", data_type=TensorProto.INT64, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "8")):
        tensor.external_data.add(key=key, value=value)
    return tensor
