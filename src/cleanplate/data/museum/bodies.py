"""The solids of a figure in a pose."""

import numpy as np

from cleanplate.data.museum.figures import Figure
from cleanplate.data.museum.material import Material
from cleanplate.data.museum.poses import Pose
from cleanplate.data.museum.solids import BOX, CUT, ROUND, Solid, ellipsoid, limb, turned


def _tilted(angle: float) -> np.ndarray:
    """Return the rotation by `angle` radians about x that leans the top forwards, to +z."""
    sin, cos = np.sin(angle), np.cos(angle)
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


class Body:
    """Builds a figure's solids around the origin, facing +z, with the lowest sole on y = 0."""

    def __init__(self, figure: Figure, pose: Pose) -> None:
        """Build all of it."""
        self.figure, self.pose = figure, pose
        self.solids: list[Solid] = []
        self.head_radius = 0.118 * (figure.height / 1.75) ** 0.4
        # Below the head, proportions go by what height is left for the body.
        self.unit = (figure.height - 2 * self.head_radius) / 0.868
        self.girth = self.unit * figure.bulk
        self.trunk = turned(pose.twist) @ _tilted(pose.lean)
        self.hip = np.array([0, 0.515 * self.unit, 0])
        self._legs()
        self._torso()
        self._skirts()
        for side in (-1, 1):
            self._arm(side)
        self._head()
        self._bag()
        self._ground()

    def _ground(self) -> None:
        shoes = [s for s in self.solids if s.material is self.figure.shoes]
        soles = min(min(s.origin[1] - s.r1, (s.origin + s.frame[:, 1] * s.length)[1] - s.r2) for s in shoes)
        self.solids = [s._replace(origin=s.origin - np.array([0, soles, 0])) for s in self.solids]

    def _spine(self, x: float, y: float, z: float) -> np.ndarray:
        """Return a point of the trunk; y counts from the hips, in body units."""
        return self.hip + self.trunk @ (np.array([x, y, z]) * self.unit)

    def _section(
        self, low: float, high: float, r1: float, r2: float, flat: float, material: Material, z: float = 0.0
    ) -> None:
        """Add an oval stretch of the trunk."""
        frame = self.trunk * np.array([1, 1, flat])
        start = self._spine(0, low, z)
        self.solids.append(Solid(ROUND, frame, start, (high - low) * self.unit, r1, r2, material))

    def _torso(self) -> None:
        f, u, g = self.figure, self.unit, self.girth
        belly = max(0.0, f.bulk - 1.0)
        lower = f.bottom if f.coat == 0 else f.over
        upper = f.top if f.coat == 0 else f.over
        chest = 0.5 * (f.shoulders * 0.82 * u + 0.088 * g)
        self._section(0.0, 0.05, f.hips * g, (0.088 + 0.03 * belly) * g, 0.72, lower)
        self._section(0.07, 0.2, (0.078 + 0.05 * belly) * g, chest, 0.66, upper)
        self._section(0.2, 0.262, chest, chest * 0.82, 0.62, upper)
        if belly > 0.08:
            self.solids.append(
                ellipsoid(self._spine(0, 0.09, 0.022), self.trunk, (0.088 * g, 0.1 * u, 0.063 * g), upper)
            )
        if f.bust:
            for x in (-0.036, 0.036):
                radii = (0.046 * u, 0.042 * u, f.bust * u)
                self.solids.append(ellipsoid(self._spine(x, 0.205, 0.035), self.trunk, radii, upper))
        across = f.shoulders - 0.022
        shoulders = [self._spine(x, 0.276, -0.005) for x in (-across, across)]
        self.solids.append(limb(shoulders[0], shoulders[1], 0.038 * g, 0.038 * g, upper))
        for shoulder in shoulders:
            self.solids.append(limb(shoulder, self._spine(0, 0.312, -0.008), 0.036 * g, 0.033 * u, upper))
        if f.coat and f.coat < 0.5:
            shirt = self._spine(0, 0.262, 0.042 * f.bulk)
            self.solids.append(ellipsoid(shirt, self.trunk, (0.028 * u, 0.075 * u, 0.026 * g), f.top))

    def _legs(self) -> None:
        f, p, u, g = self.figure, self.pose, self.unit, self.girth
        long = f.legs == "trousers"
        for side, swing, bend in ((-1, p.swing[0], p.bend[0]), (1, p.swing[1], p.bend[1])):
            hip = self.hip + np.array([side * 0.05 * u, -0.02 * u, 0])
            thigh = np.array([side * np.sin(p.spread), -np.cos(p.spread) * np.cos(swing), np.sin(swing)])
            knee = hip + 0.225 * u * thigh
            down = swing - bend
            shin = np.array([side * np.sin(p.spread) * 0.6, -np.cos(down), np.sin(down)])
            ankle = knee + 0.23 * u * shin
            leg = f.bottom if long else f.skin
            slack = 1.1 if long else 1.0
            # Bare thighs begin below the shorts' or skirt's waist, or they would bulge out of it.
            start = hip if long else hip + 0.07 * u * thigh
            self.solids.append(limb(start, knee, 0.058 * g, 0.04 * g * slack, leg))
            self.solids.append(limb(knee, ankle, 0.039 * g * slack, (0.036 if long else 0.024) * g, leg))
            if f.legs == "shorts":
                self.solids.append(limb(hip, hip + 0.2 * u * thigh, 0.064 * g, 0.062 * g, f.bottom, CUT))
            self._shoe(ankle, down)

    def _shoe(self, ankle: np.ndarray, angle: float) -> None:
        u, shoes = self.unit, self.figure.shoes
        pitch = float(np.clip(-angle * 0.8, -0.25, 0.9))  # the heel of the leg behind comes up
        turn = _tilted(pitch)
        sole = ankle + turn @ np.array([0, -0.03 * u, -0.012 * u])
        toe = sole + turn @ np.array([0, -0.004 * u, 0.098 * u])
        shape = limb(sole, toe, 0.026 * u, 0.023 * u, shoes)
        self.solids.append(shape)
        self.solids.append(limb(ankle, sole, 0.027 * u, 0.028 * u, shoes))

    def _skirts(self) -> None:
        f, u, g = self.figure, self.unit, self.girth
        stride = 0.22 * max(abs(s) for s in self.pose.swing)
        hangs = [(f.coat, f.over, 1.12, 0.03)] if f.coat else []
        hangs += {
            "skirt": [(0.42, f.bottom, 1.05, 0.05)],
            "frock": [(0.45, f.bottom, 1.05, 0.06)],
            "gown": [(0.88, f.bottom, 1.05, 0.09)],
        }.get(f.legs, [])
        for reach, cloth, wide, flare in hangs:
            # From inside the waist to over the hips, wide enough for the thighs, and then down to the hem.
            over_hips = max(f.hips * g * wide, 0.054 * u + 0.058 * g)
            hem = over_hips + (flare * reach * 1.6 + stride * reach) * u
            frame = np.diag([1.0, -1.0, 0.78 * (1 + stride)])
            for above, length, r1, r2 in (
                (0.1 * u, 0.12 * u, 0.074 * g, over_hips),
                (-0.02 * u, (reach * 0.5 - 0.02) * u, over_hips, hem),
            ):
                origin = self.hip + np.array([0, above, 0])
                self.solids.append(Solid(CUT, frame, origin, length, r1, r2, cloth))

    def _arm(self, side: int) -> None:
        f, u, g = self.figure, self.unit, self.girth
        upper, lower = self.pose.arms[0 if side < 0 else 1]
        mirror = np.array([side, 1, 1])
        shoulder = self._spine(side * (f.shoulders - 0.004), 0.27, -0.005)
        elbow = shoulder + self.trunk @ (upper * mirror) * 0.165 * u
        along = self.trunk @ (lower * mirror)
        wrist = elbow + along * 0.14 * u
        cloth = f.over if f.coat else f.top
        sleeves = "long" if f.coat else f.sleeves
        self.solids.append(limb(shoulder, elbow, 0.033 * g, 0.026 * g, cloth if sleeves == "long" else f.skin))
        self.solids.append(
            limb(
                elbow,
                wrist,
                0.026 * g,
                (0.024 if sleeves == "long" else 0.018) * g,
                cloth if sleeves == "long" else f.skin,
            )
        )
        if sleeves == "short":
            self.solids.append(limb(shoulder, shoulder + (elbow - shoulder) * 0.62, 0.034 * g, 0.037 * g, cloth, CUT))
        if sleeves != "none":
            self.solids.append(ellipsoid(shoulder, self.trunk, (0.035 * g,) * 3, cloth))
        hand = wrist + along * 0.035 * u
        frame = limb(wrist, hand, 1, 1, f.skin).frame
        self.solids.append(ellipsoid(hand, frame, (0.021 * u, 0.045 * u, 0.014 * u), f.skin))

    def _head(self) -> None:
        f, r = self.figure, self.head_radius
        turn = self.trunk @ turned(self.pose.look) @ _tilted(self.pose.nod)
        base = self._spine(0, 0.32, -0.006)
        centre = base + self.trunk @ np.array([0, 0.02 * self.unit, 0.006]) + turn @ np.array([0, r * 0.92, 0.12 * r])
        self.solids.append(limb(base, centre - turn @ np.array([0, 0.3 * r, 0.15 * r]), 0.43 * r, 0.4 * r, f.skin))

        def at(x: float, y: float, z: float) -> np.ndarray:
            return centre + turn @ (np.array([x, y, z]) * r)

        def blob(place: tuple[float, float, float], radii: tuple[float, float, float], material: Material) -> None:
            self.solids.append(ellipsoid(at(*place), turn, [v * r for v in radii], material))

        blob((0, 0, 0), (0.7, 1.0, 0.86), f.face)
        self.solids.append(limb(at(0, 0.08, 0.8), at(0, -0.2, 0.93), 0.06 * r, 0.11 * r, f.skin))
        for x in (-0.69, 0.69):
            blob((x, -0.05, -0.05), (0.09, 0.22, 0.14), f.skin)
        mane = f.mane
        if f.hair in ("full", "long", "bob", "bun", "tail", "scarf", "curls"):
            cover = f.headgear if f.hair == "scarf" else mane
            if f.hair == "curls":
                blob((0, 0.32, -0.4), (1.02, 1.05, 0.95), cover)
            else:
                blob((0, 0.2, -0.2), (0.78, 0.93, 0.82), cover)
        if f.hair == "short":
            blob((0, 0.2, -0.12), (0.71, 0.87, 0.82), mane)
        if f.hair in ("long", "bob", "scarf"):
            cloth = f.headgear if f.hair == "scarf" else mane
            drop = {"long": -2.1, "bob": -0.75, "scarf": -1.0}[f.hair]
            frame = turn * np.array([1, -1, 0.55])
            self.solids.append(Solid(ROUND, frame, at(0, 0.15, -0.42), (0.15 - drop) * r, 0.78 * r, 0.66 * r, cloth))
        if f.hair == "bun":
            blob((0, 0.75, -0.75), (0.36, 0.34, 0.34), mane)
        if f.hair == "tail":
            self.solids.append(limb(at(0, 0.4, -0.95), at(0, -1.2, -1.15), 0.2 * r, 0.1 * r, mane))
        if f.hair in ("hat", "brimmed"):
            blob((0, 0.42, -0.06), (0.8, 0.66, 0.95), f.headgear)
            frame = turn * np.array([1, 1, 1.15])
            if f.hair == "brimmed":
                self.solids.append(Solid(CUT, frame, at(0, 0.42, -0.05), 0.08 * r, 1.25 * r, 1.2 * r, f.headgear))
            else:
                blob((0, 0.42, 0.62), (0.62, 0.07, 0.72), f.headgear)

    def _bag(self) -> None:
        f, u = self.figure, self.unit
        if f.bag == "backpack":
            frame = self.trunk * np.array([1, 1, 0.62])
            place = self._spine(0, 0.11, -0.085 * f.bulk)
            self.solids.append(Solid(ROUND, frame, place, 0.11 * u, 0.085 * u, 0.07 * u, f.headgear))
            for x in (-0.06, 0.06):
                start, end = self._spine(x, 0.32, 0.02), self._spine(x * 1.1, 0.14, 0.065 * f.bulk)
                self.solids.append(limb(start, end, 0.012 * u, 0.012 * u, f.headgear))
        elif f.bag == "shoulder":
            frame = self.trunk * (np.array([0.028, 0.065, 0.085]) * u)
            bag = self._spine(0.125 * f.bulk, -0.02, 0.0)
            self.solids.append(Solid(BOX, frame, bag, 0.0, 1.0, 1.0, f.headgear))
            start, end = self._spine(-0.06, 0.325, 0.01), self._spine(0.12 * f.bulk, 0.03, 0.03)
            self.solids.append(limb(start, end, 0.008 * u, 0.008 * u, f.headgear))


def build_body(figure: Figure, pose: Pose, spot: tuple[float, float], facing: float) -> list[Solid]:
    """Return a figure's solids, standing at `spot` (x, z) of the floor, turned by `facing` radians."""
    turn, place = turned(facing), np.array([spot[0], 0.0, spot[1]])
    return [s._replace(frame=turn @ s.frame, origin=turn @ s.origin + place) for s in Body(figure, pose).solids]
