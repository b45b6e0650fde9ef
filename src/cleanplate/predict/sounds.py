"""The sound of a video that is made of another: as it is where the new file can hold it, else made anew as Opus."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    import av
    from av.container import InputContainer, OutputContainer

OPUS, OPUS_RATE, OPUS_SAMPLES = "libopus", 48_000, 960
"""The encoder, samples a second, and samples a packet."""


class Sound(NamedTuple):
    """A packet of the sound, as it is in the file."""

    content: bytes
    pts: int | None
    dts: int | None
    duration: int | None
    time_base: Fraction


class CopiedSound:
    """Writes packets as they are.

    Args:
        container: what they go into.
        like: the stream that they come from.
    """

    def __init__(self, container: "OutputContainer", like: "av.AudioStream") -> None:
        self._container = container
        self._stream = container.add_stream_from_template(like)

    def write(self, sounds: list[Sound]) -> None:
        """Write packets."""
        import av

        for sound in sounds:
            packet = av.Packet(sound.content)
            packet.pts, packet.dts, packet.time_base = sound.pts, sound.dts, sound.time_base
            packet.duration, packet.stream = sound.duration or 0, self._stream
            self._container.mux(packet)


class OpusSound:
    """Writes the sound of a file as Opus, as far as packets of it have come.

    The file is opened once more and decoded here: packets that have left their file no longer say all that a decoder
    has to know of them.

    Args:
        container: what it goes into.
        source: the file that the sound is in, opened for this alone; it is closed at its end.
    """

    def __init__(self, container: "OutputContainer", source: "InputContainer") -> None:
        self._container, self._source = container, source
        several = source.streams.audio[0].codec_context.channels > 1
        self._layout = "stereo" if several else "mono"
        stream = container.add_stream(OPUS, rate=OPUS_RATE, layout=self._layout, format="s16")
        self._stream = cast("av.AudioStream", stream)
        self._packets = self._encode()

    def write(self, sounds: list[Sound]) -> None:
        """Write what begins before the last of the packets ends."""
        last = sounds[-1]
        if last.pts is None:
            return
        until = (last.pts + (last.duration or 0)) * last.time_base
        for packet in self._packets:
            self._container.mux(packet)
            if packet.pts is None or packet.time_base is None or packet.pts * packet.time_base >= until:
                return

    def _encode(self) -> Iterator["av.Packet"]:
        import av

        resampler = av.AudioResampler("s16", self._layout, OPUS_RATE, OPUS_SAMPLES)
        with self._source as source:
            for heard in source.demux(source.streams.audio[0]):
                try:
                    decoded = heard.decode()
                except av.FFmpegError:  # damaged: a gap is better than an end
                    continue
                for frame in decoded:
                    for piece in resampler.resample(frame):
                        yield from self._stream.encode(piece)
        for piece in resampler.resample(None):
            yield from self._stream.encode(piece)
        yield from self._stream.encode(None)
