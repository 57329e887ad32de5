"""FedML's two base classes: its own where it is installed, else stand-ins of the same shape.

FedML brings 6 GB; the stand-ins let everything of :mod:`fedhds.fedml` run and be tested without it. They have the same
constructors and methods (a test holds them against FedML's signatures), without its attacks, defences and noise.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

_SPEC = importlib.util.find_spec("fedml")
INSTALLED = _SPEC is not None and _SPEC.origin is not None  # a folder of that name is none
"""Whether FedML is there; then values that travel are tensors of PyTorch, else NumPy arrays."""

if TYPE_CHECKING or not INSTALLED:

    class ClientTrainer(ABC):
        """``fedml.core.ClientTrainer`` of fedml 0.9.6."""

        def __init__(self, model: Any, args: Any) -> None:
            self.model = model
            self.id = 0
            self.args = args
            self.local_train_dataset: Any = None
            self.local_test_dataset: Any = None
            self.local_sample_number = 0
            self.rid = 0
            self.template_model_params: Any = None
            self.enc_model_params: Any = None

        def set_id(self, trainer_id: int) -> None:
            self.id = trainer_id

        def is_main_process(self) -> bool:
            return True

        def update_dataset(self, local_train_dataset: Any, local_test_dataset: Any, local_sample_number: Any) -> None:
            self.local_train_dataset = local_train_dataset
            self.local_test_dataset = local_test_dataset
            self.local_sample_number = local_sample_number

        @abstractmethod
        def get_model_params(self) -> Any: ...

        @abstractmethod
        def set_model_params(self, model_parameters: Any) -> None: ...

        def get_enc_model_params(self) -> Any:
            return self.enc_model_params

        def set_enc_model_params(self, enc_model_parameters: Any) -> None:
            self.enc_model_params = enc_model_parameters

        def on_before_local_training(self, train_data: Any, device: Any, args: Any) -> None:
            pass

        @abstractmethod
        def train(self, train_data: Any, device: Any, args: Any) -> None: ...

        def on_after_local_training(self, train_data: Any, device: Any, args: Any) -> None:
            pass

        def test(self, test_data: Any, device: Any, args: Any) -> Any:
            pass

    class ServerAggregator(ABC):
        """``fedml.core.ServerAggregator`` of fedml 0.9.6."""

        def __init__(self, model: Any, args: Any) -> None:
            self.model = model
            self.id = 0
            self.args = args
            self.contribution_assessor_mgr: Any = None
            self.final_contribution_assigment_dict: dict[Any, Any] = {}
            self.eval_data: Any = None

        def is_main_process(self) -> bool:
            return True

        def set_id(self, aggregator_id: int) -> None:
            self.id = aggregator_id

        @abstractmethod
        def get_model_params(self) -> Any: ...

        @abstractmethod
        def set_model_params(self, model_parameters: Any) -> None: ...

        def on_before_aggregation(self, raw_client_model_or_grad_list: Any) -> tuple[Any, list[int]]:
            return raw_client_model_or_grad_list, list(range(len(raw_client_model_or_grad_list)))

        def aggregate(self, raw_client_model_or_grad_list: Any) -> Any:
            """FedAvg, as ``FedMLAggOperator.agg`` of it: the mean weighted by the first of each pair."""
            total = sum(count for count, _ in raw_client_model_or_grad_list)
            mean: OrderedDict[str, Any] = OrderedDict()
            for count, params in raw_client_model_or_grad_list:
                for name, value in params.items():
                    part = value * (count / total)
                    mean[name] = mean[name] + part if name in mean else part
            return mean

        def on_after_aggregation(self, aggregated_model_or_grad: Any) -> Any:
            return aggregated_model_or_grad

        def assess_contribution(self) -> None:
            pass

        @abstractmethod
        def test(self, test_data: Any, device: Any, args: Any) -> Any: ...

        def test_all(
            self, train_data_local_dict: Any, test_data_local_dict: Any, device: Any, args: Any
        ) -> bool | None:
            pass

else:
    try:
        from fedml.core import ClientTrainer, ServerAggregator
    except ImportError as error:
        hint = "fedml 0.9.6 needs setuptools below 81 (pkg_resources)"
        raise ImportError(f"fedhds.fedml: expected FedML to be imported, got: {error} ({hint})") from error
