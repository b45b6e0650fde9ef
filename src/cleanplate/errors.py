"""The one error that is the user's to mend."""


class UserError(ValueError):
    """A fault in what the user gave: a file, a setting, a folder.

    The message is one line that names the file or key and the mend. The command line prints it and exits with 2;
    everything else that is raised is a fault of cleanplate's own.
    """
